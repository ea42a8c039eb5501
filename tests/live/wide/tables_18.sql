CREATE TABLE wide.eighteen (
    id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL, u uuid DEFAULT uuidv7()
);
