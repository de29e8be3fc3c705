"""From the queue of a C gearmand into ours."""
