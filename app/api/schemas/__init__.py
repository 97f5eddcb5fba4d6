"""The JSON of requests and responses. Imports the topics for their types."""
