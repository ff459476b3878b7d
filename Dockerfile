# Builds the service, then leaves everything but it and a server behind.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs ./
COPY src ./src
COPY migrations-lua ./migrations-lua
COPY benches ./benches
COPY tests ./tests
RUN cargo build --release --locked --bin lockstep

FROM debian:bookworm-slim
# The server of the embedded default; its version is the distribution's, for its security updates.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends redis-server \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --create-home --home-dir /var/lib/lockstep lockstep \
 && install -d -o lockstep -g lockstep -m 0700 /var/lib/lockstep/data
COPY --from=build /src/target/release/lockstep /usr/local/bin/lockstep
USER 10001
# Without a root key everybody is let in: publish the port only where a gateway keeps strangers out.
ENV LOCKSTEP_LISTEN=0.0.0.0:8080 \
    LOCKSTEP_INSECURE=true \
    LOCKSTEP_DATA_DIR=/var/lib/lockstep/data \
    LOCKSTEP_LOG_FORMAT=json
VOLUME /var/lib/lockstep/data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["lockstep", "healthcheck"]
ENTRYPOINT ["lockstep"]
