"""Ingestion: takes the events of product services over HTTP and answers for each what became of it."""
