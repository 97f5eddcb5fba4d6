"""`make containers`: builds the images, starts docker-compose.yml, and tests both as an operator uses them."""
