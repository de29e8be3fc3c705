# gearmand-py in a container, its jobs in a SQLite file on a volume:
#
#   docker build --network host -t gearmand-py .
#   docker run -d -p 127.0.0.1:4730:4730 -v gearmand:/var/lib/gearmand-py --restart unless-stopped gearmand-py
#
# Every option is a variable (docs/options.md), and that with _FILE behind it names a file with the value, as secrets
# are given. The variables of the image artefactual/gearmand are taken too. Give --port as GEARMAND_PORT, so that the
# health check finds it. --network host is for the build alone, where the package index may be reached from the host
# only.
#
# What is installed is what requirements.lock has the hashes of, in wheels alone: whatever builds itself from source
# would fetch tools that no hash holds. `--build-arg BASE=python:3.13-slim@sha256:...` holds the base as well.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore \
    PIP_ONLY_BINARY=:all: PIP_REQUIRE_HASHES=1
# No pip in the environments: the base image's installs into them. The first is shipped.
RUN python -m venv --without-pip /opt/gearmand-py \
 && python -m venv --without-pip tools
# The dependencies are a layer of their own, so that a change of the code does not fetch them again.
COPY requirements.lock requirements-image.lock ./
RUN pip --python /opt/gearmand-py/bin/python install --requirement requirements.lock \
 && pip --python tools/bin/python install --requirement requirements-image.lock
COPY . ./
RUN tools/bin/hatchling build --target wheel \
 && PIP_REQUIRE_HASHES=0 pip --python /opt/gearmand-py/bin/python install --no-deps dist/*.whl \
 && tools/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
      --output-file sbom.cdx.json /opt/gearmand-py/bin/python

FROM ${BASE}
LABEL org.opencontainers.image.title=gearmand-py
LABEL org.opencontainers.image.description="A durable job queue server that speaks Gearman: \
acknowledged means committed."
LABEL org.opencontainers.image.version=0.1.0
LABEL org.opencontainers.image.licenses=MIT
# Nothing is installed here any more. The user's number is what volumes remember, so it never changes.
RUN find / -xdev '(' -path '*-packages/pip' -o -path '*-packages/pip-*.dist-info' -o -path '*/python3*/ensurepip' \
      -o -name 'pip-*.whl' -o -path '*/bin/pip*' ')' -prune -exec rm -r '{}' + \
 && groupadd --gid 10001 gearmand \
 && useradd --uid 10001 --gid 10001 --home-dir /var/lib/gearmand-py --no-create-home --shell /bin/false gearmand \
 && install -d -m 0700 -o gearmand -g gearmand /var/lib/gearmand-py
COPY --from=build /opt/gearmand-py /opt/gearmand-py
COPY --from=build /build/sbom.cdx.json /usr/share/gearmand-py/
COPY --chmod=0755 docker-entrypoint.sh /usr/local/bin/
ENV PATH=/opt/gearmand-py/bin:$PATH \
    STATE_DIRECTORY=/var/lib/gearmand-py \
    GEARMAND_LISTEN=0.0.0.0
USER 10001:10001
# SQLite's temporary files go to the working directory where nothing else can be written.
WORKDIR /var/lib/gearmand-py
VOLUME /var/lib/gearmand-py
EXPOSE 4730
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["docker-entrypoint.sh", "ping"]
ENTRYPOINT ["docker-entrypoint.sh"]
