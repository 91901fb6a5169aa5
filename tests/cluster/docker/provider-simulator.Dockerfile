# The image provider-simulator where Docker exists; its third-party needs are a part of the operator's.
# Build after relay-operator:dev, from the repository root:
# docker build --tag provider-simulator:dev --file tests/cluster/docker/provider-simulator.Dockerfile .

FROM relay-operator:dev
COPY tests/simulator /opt/simulator/tests/simulator
ENV PYTHONPATH=/opt/simulator
WORKDIR /opt/simulator
ENTRYPOINT ["/usr/bin/python3", "-m", "tests.simulator"]
CMD []
