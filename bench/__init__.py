"""Speed, memory and quality of asterism against a plain transcription of the published training steps."""
