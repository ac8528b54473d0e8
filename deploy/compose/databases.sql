-- Run once, by Postgres when its volume is empty; `ledgers` is there by then.
CREATE DATABASE dagster;
CREATE DATABASE product;
