"""`make containers`: the images and docker-compose.yml, built, brought up and tried as an operator would."""
