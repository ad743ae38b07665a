-- Instants of schedules that were answered before they came, while the store's clock was ahead: they do not fire again.
CREATE TABLE campanile_answered (
    task BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (task, at)
);
