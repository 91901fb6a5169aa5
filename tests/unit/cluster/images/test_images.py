"""Image archives have correct digests and are byte-identical for equal content."""

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cluster import paths
from tests.cluster.images import archive, catalogue, debian, layers, python
from tests.cluster.images.archive import Image, Layer


def fill(tree: Path) -> None:
    (tree / "b").mkdir()
    (tree / "b" / "file").write_text("content")
    (tree / "b" / "file").chmod(0o640)
    (tree / "a").symlink_to("b/file")


def tar_of(tree: Path, target: Path) -> bytes:
    layers.write_tar(tree, target)
    return target.read_bytes()


@pytest.fixture
def layer(tmp_path: Path) -> Layer:
    tree = tmp_path / "tree"
    tree.mkdir()
    fill(tree)
    content = tar_of(tree, tmp_path / "layer.tar")
    return Layer(tmp_path / "layer.tar", hashlib.sha256(content).hexdigest(), len(content))


@pytest.fixture
def image(layer: Layer) -> Image:
    return Image(
        reference="docker.io/library/app:dev",
        layers=(layer,),
        command=("app",),
        user="65532:65532",
    )


def written(image: Image) -> bytes:
    output = io.BytesIO()
    archive.write(image, output)
    return output.getvalue()


def files(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as opened:
        return {
            member.name: reader.read()
            for member in opened
            if (reader := opened.extractfile(member)) is not None
        }


def test_every_blob_is_named_by_its_digest(image: Image) -> None:
    blobs = {name: data for name, data in files(written(image)).items() if "blobs/" in name}
    assert len(blobs) == 3
    for name, data in blobs.items():
        assert name == f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"


def test_descriptors_lead_from_the_index_to_the_layers(image: Image, layer: Layer) -> None:
    content = files(written(image))

    def follow(descriptor: dict[str, object]) -> dict[str, object]:
        blob = content[f"blobs/sha256/{str(descriptor['digest']).removeprefix('sha256:')}"]
        assert len(blob) == descriptor["size"]
        followed: dict[str, object] = json.loads(blob)
        return followed

    (entry,) = json.loads(content["index.json"])["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == image.reference
    assert entry["digest"] == f"sha256:{archive.manifest_digest(image)}"
    manifest = follow(entry)
    config = follow(manifest["config"])  # type: ignore[arg-type]
    assert config["rootfs"] == {"type": "layers", "diff_ids": [f"sha256:{layer.sha256}"]}
    assert config["config"]["User"] == "65532:65532"  # type: ignore[index]
    assert manifest["layers"] == [
        {"mediaType": archive.LAYER_TYPE, "digest": f"sha256:{layer.sha256}", "size": layer.size}
    ]


def test_a_layer_used_twice_is_stored_once(image: Image, layer: Layer) -> None:
    twice = replace(image, layers=(layer, layer))
    with tarfile.open(fileobj=io.BytesIO(written(twice))) as opened:
        names = opened.getnames()
    assert len(names) == len(set(names))


def test_layers_that_the_receiver_has_are_described_but_not_sent(
    image: Image, layer: Layer
) -> None:
    output = io.BytesIO()
    archive.write(image, output, without={layer.sha256})
    sent, whole = files(output.getvalue()), files(written(image))
    assert set(whole) - set(sent) == {f"blobs/sha256/{layer.sha256}"}
    assert sent["index.json"] == whole["index.json"]


def test_equal_images_are_byte_identical_and_different_ones_are_not(image: Image) -> None:
    assert written(image) == written(replace(image))
    assert written(image) != written(replace(image, command=("other",)))


def test_layers_do_not_depend_on_time_owner_or_order_of_creation(tmp_path: Path) -> None:
    def backwards(tree: Path) -> None:
        (tree / "a").symlink_to("b/file")
        (tree / "b").mkdir()
        (tree / "b" / "file").write_text("content")
        (tree / "b" / "file").chmod(0o640)
        os.utime(tree / "b" / "file", (1, 1))

    contents = []
    for number, builder in enumerate((fill, backwards)):
        tree = tmp_path / str(number)
        tree.mkdir()
        builder(tree)
        contents.append(tar_of(tree, tmp_path / f"{number}.tar"))
    assert contents[0] == contents[1]


def test_layers_keep_modes_and_links(layer: Layer) -> None:
    with tarfile.open(layer.path) as opened:
        found = {m.name: (m.type, m.mode, m.linkname, m.mtime, m.uid) for m in opened}
    assert found == {
        "a": (tarfile.SYMTYPE, 0o777, "b/file", 0, 0),
        "b": (tarfile.DIRTYPE, 0o755, "", 0, 0),
        "b/file": (tarfile.REGTYPE, 0o640, "", 0, 0),
    }


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RELAY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "layers"


def counting(builder: Callable[[Path], None]) -> tuple[list[int], Callable[[Path], None]]:
    calls: list[int] = []

    def build(tree: Path) -> None:
        calls.append(1)
        builder(tree)

    return calls, build


def test_a_layer_is_built_once_per_key(cache: Path) -> None:
    calls, build = counting(fill)
    first = layers.cached("app-1", build)
    assert layers.cached("app-1", build) == first
    layers.cached("app-2", build)
    assert len(calls) == 2
    assert hashlib.sha256(first.path.read_bytes()).hexdigest() == first.sha256


def test_a_build_that_fails_leaves_nothing_and_can_be_repeated(cache: Path) -> None:
    def cut_short(tree: Path) -> None:
        fill(tree)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        layers.cached("app-1", cut_short)
    assert os.listdir(cache) == [".app.lock"]
    assert layers.cached("app-1", fill).size > 0


def test_old_layers_are_removed_but_those_used_last_and_of_other_names(cache: Path) -> None:
    layers.cached("other-app-0", fill)
    for number in range(layers.KEPT_LAYERS + 3):
        layers.cached(f"app-{number}", fill)
        os.utime(cache / f"app-{number}", (number, number))
        layers.cached("app-0", fill)
    left = {path.name for path in cache.glob("app-*")}
    assert len(left) == layers.KEPT_LAYERS
    assert "app-0" in left
    assert (cache / "other-app-0").exists()


def test_a_key_depends_on_where_one_input_ends() -> None:
    assert layers.key("app", b"ab", b"c") != layers.key("app", b"a", b"bc")
    assert layers.key("app", b"ab") == layers.key("app", b"ab")


@pytest.mark.parametrize(
    ("name", "complete"),
    [
        ("app", "docker.io/library/app:latest"),
        ("app:dev", "docker.io/library/app:dev"),
        ("team/app:dev", "docker.io/team/app:dev"),
        ("localhost/app:1", "localhost/app:1"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("registry.example/team/app:1", "registry.example/team/app:1"),
        ("docker.io/library/app:dev", "docker.io/library/app:dev"),
    ],
)
def test_names_are_completed_by_the_rules_of_docker(name: str, complete: str) -> None:
    assert archive.complete_reference(name) == complete
    assert archive.complete_reference(complete) == complete


def test_an_unknown_name_is_not_built() -> None:
    assert catalogue.named("nginx:dev") is None
    assert catalogue.named("relay-operator:v1") is None


def test_commands_come_from_the_wheels_entry_points() -> None:
    text = "[console_scripts]\nrelay = relay.main:main\nRelay-X = a.b:c\n\n[other]\nx = y:z\n"
    assert python.console_scripts(text) == {"relay": "relay.main:main", "Relay-X": "a.b:c"}
    assert python.console_scripts("[other]\nx = y:z\n") == {}


def test_launchers_call_the_images_own_python() -> None:
    assert python.launcher("relay.main:main").startswith("#!/usr/bin/python3.11\n")
    compile(python.launcher("relay.main:main"), "launcher", "exec")


def test_caches_are_not_part_of_the_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "REPOSITORY", tmp_path)
    (tmp_path / "part" / "__pycache__").mkdir(parents=True)
    (tmp_path / "part" / "__pycache__" / "x.pyc").touch()
    (tmp_path / "part" / "module.py").write_text("1")
    before = python.source_digest(("part",))
    assert python.source_files(("part",)) == [tmp_path / "part" / "module.py"]
    (tmp_path / "part" / "module.py").rename(tmp_path / "part" / "renamed.py")
    assert python.source_digest(("part",)) != before


DOCKERFILE = (paths.REPOSITORY / "operator" / "Dockerfile").read_text()


def test_the_dockerfile_gives_the_same_content() -> None:
    shipped = re.search(
        r"AS python\nRUN.*?--no-install-recommends \\\n\s+(.*?) \\\n", DOCKERFILE, re.DOTALL
    )
    assert shipped is not None
    assert tuple(shipped[1].split()) == debian.BASE_PACKAGES
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    for setting in catalogue.PYTHON_ENVIRONMENT:
        assert setting in final
    assert f"USER {catalogue.NON_ROOT}" in final
    assert 'CMD ["relay-operator"]' in final
    assert f"/image/{python.SITE_PACKAGES}" in DOCKERFILE


def test_the_dockerfile_checks_hashes_and_ships_no_build_tools() -> None:
    installs = re.findall(r"pip install(.*?)(?:&&|\n(?! ))", DOCKERFILE, re.DOTALL)
    assert installs
    assert all("--require-hashes" in one or "/wheels/" in one for one in installs)
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    assert "RUN" not in final
    assert "pip" not in final
