-- Requests for runs that other programs leave inside transactions of their own. Nobody but the leader ever takes a row out;
-- this table never changes, for programs in any language insert into it.
CREATE TABLE campanile_inbox (
    id @counted_wide_id,
    request TEXT NOT NULL
);

-- What has become of its rows.
CREATE TABLE campanile_inbox_settled (
    id @row_id,
    at BIGINT NOT NULL,
    became SMALLINT NOT NULL,
    run BIGINT,
    message TEXT
);
