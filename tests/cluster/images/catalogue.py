"""The images of this project, by the names that manifests use."""

from collections.abc import Callable

from tests.cluster.errors import ClusterError
from tests.cluster.images import debian, python
from tests.cluster.images.archive import Image, complete_reference

TAG = "dev"
NON_ROOT = "65532:65532"
NOBODY = "65534:65534"
PYTHON_ENVIRONMENT = (
    "PATH=/usr/local/bin:/usr/bin:/bin",
    "LANG=C.UTF-8",
    # compiled files are in the image, and its root may be read-only
    "PYTHONDONTWRITEBYTECODE=1",
    "PYTHONUNBUFFERED=1",
)


def relay_operator() -> Image:
    """Builds the image of all processes; a pod chooses by `command: [relay-operator]`, `[relay]` or `[relay-ledger, serve]`."""
    return Image(
        reference=complete_reference(f"relay-operator:{TAG}"),
        layers=(debian.base_layer(), python.dependencies_layer(), python.operator_layer()),
        command=("relay-operator",),
        environment=PYTHON_ENVIRONMENT,
        user=NON_ROOT,
        architecture=debian.architecture(),
    )


def provider_simulator() -> Image:
    return Image(
        reference=complete_reference(f"provider-simulator:{TAG}"),
        layers=(debian.base_layer(), python.dependencies_layer(), python.simulator_layer()),
        entrypoint=("/usr/bin/python3", "-m", "tests.simulator"),
        environment=(*PYTHON_ENVIRONMENT, f"PYTHONPATH=/{python.SIMULATOR_HOME}"),
        user=NON_ROOT,
        working_directory=f"/{python.SIMULATOR_HOME}",
        architecture=debian.architecture(),
    )


def prometheus() -> Image:
    """Builds Debian's Prometheus; as in the upstream image, a pod's args replace the two default flags."""
    return Image(
        reference=complete_reference(f"prometheus:{TAG}"),
        layers=(debian.base_layer(), debian.prometheus_layer()),
        entrypoint=("/usr/bin/prometheus",),
        command=(
            "--config.file=/etc/prometheus/prometheus.yml",
            "--storage.tsdb.path=/prometheus",
        ),
        user=NOBODY,
        working_directory="/prometheus",
        architecture=debian.architecture(),
    )


def python_only() -> Image:
    """Builds the base alone, for tests that run a few lines in a pod."""
    return Image(
        reference=complete_reference(f"python:{TAG}"),
        layers=(debian.base_layer(),),
        entrypoint=("/usr/bin/python3",),
        environment=PYTHON_ENVIRONMENT,
        user=NON_ROOT,
        architecture=debian.architecture(),
    )


def busybox() -> Image:
    return Image(
        reference=complete_reference(f"busybox:{TAG}"),
        layers=(debian.base_layer(), debian.busybox_layer()),
        command=("/bin/sh",),
        environment=PYTHON_ENVIRONMENT,
        architecture=debian.architecture(),
    )


def pause() -> Image:
    return Image(
        reference="localhost/pause:1",
        layers=(debian.pause_layer(),),
        entrypoint=("/pause", "-P"),
        architecture=debian.architecture(),
    )


RECIPES: dict[str, Callable[[], Image]] = {
    f"relay-operator:{TAG}": relay_operator,
    f"provider-simulator:{TAG}": provider_simulator,
    f"prometheus:{TAG}": prometheus,
    f"python:{TAG}": python_only,
    f"busybox:{TAG}": busybox,
}


def named(name: str) -> Image | None:
    """Builds the image of this name if its inputs changed, and returns it; None for a name that is not ours."""
    wanted = complete_reference(name)
    for short, recipe in RECIPES.items():
        if complete_reference(short) == wanted:
            return recipe()
    return None


def build(names: tuple[str, ...]) -> list[Image]:
    """Builds these images, or all if none is named."""
    built = []
    for name in names or tuple(RECIPES):
        image = named(name)
        if image is None:
            raise ClusterError(
                f"there is no image {name!r} to build: there are {', '.join(RECIPES)}"
            )
        built.append(image)
    return built
