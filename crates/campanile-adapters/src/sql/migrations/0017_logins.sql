-- Local users. What is kept of a password is a hash (argon2id, PHC).
CREATE TABLE campanile_user (
    name @name PRIMARY KEY,
    password TEXT NOT NULL,
    role TEXT NOT NULL,
    data SMALLINT NOT NULL,
    scope TEXT NOT NULL,
    disabled SMALLINT NOT NULL,
    created_at BIGINT NOT NULL,
    password_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);

-- Sessions of browsers, by the digest of what their cookies hold.
CREATE TABLE campanile_session (
    digest @name PRIMARY KEY,
    kind TEXT NOT NULL,
    subject @name NOT NULL,
    name TEXT NOT NULL,
    group_names TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    address TEXT NOT NULL,
    agent TEXT NOT NULL
);
