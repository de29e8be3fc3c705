"""The image and the compose file, as their users meet them: through the docker command.

`selection` says whether they are tested here. A session has one image, built from a checkout of its own (`checkout`),
and everything it starts bears the session's name (`engine`).
"""
