# The image prometheus where Docker exists: Debian's Prometheus, as the embedded cluster's.
# docker build --tag prometheus:dev --file tests/cluster/docker/prometheus.Dockerfile .

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends prometheus \
 && rm -rf /var/lib/apt/lists/* \
 && install --directory --mode=1777 /prometheus
USER 65534:65534
WORKDIR /prometheus
ENTRYPOINT ["/usr/bin/prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
