-- What the broker `store:` carries: a row for each message, with how long it is some consumer's. The place is by priority,
-- then by the moment of the offer. Empty under any other broker.
CREATE TABLE campanile_offer (
    destination @name NOT NULL,
    place BIGINT NOT NULL,
    held_until BIGINT NOT NULL,
    taken INTEGER NOT NULL,
    body TEXT NOT NULL,
    signature TEXT NOT NULL,
    PRIMARY KEY (destination, place)
) @offers;
