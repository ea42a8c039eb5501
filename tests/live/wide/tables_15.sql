CREATE TABLE wide.fifteen (
    id int PRIMARY KEY, a int, b int, c numeric(3,-2),
    CONSTRAINT not_distinct UNIQUE NULLS NOT DISTINCT (a, b),
    CONSTRAINT partly FOREIGN KEY (a, b) REFERENCES wide.fifteen (a, b) ON DELETE SET NULL (b)
);
CREATE UNIQUE INDEX not_distinct_too ON wide.fifteen (c) NULLS NOT DISTINCT;
