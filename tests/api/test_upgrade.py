"""A model that version 0.1 registered: refused with its reason, until the pipeline has made it again.

`version_0_1/` holds the file and the tags of a decision tree on generated accidents. The code of version 0.1 (commit
86402fa is its last one before the levels of knowledge) trained, signed and registered it, with the key of these tests.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.models import Models
from include.accidents.errors import ModelError
from include.accidents.features.version import feature_version
from tests.api.world import World

OLD = Path(__file__).with_name("version_0_1")


def test_a_model_of_version_0_1_is_refused_until_the_pipeline_makes_it_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    tags = json.loads((OLD / "tags.json").read_text())
    world.client.create_registered_model("Tree")
    world.client.create_model_version("Tree", OLD.as_uri(), tags=tags)
    served = Models(world.settings())

    with pytest.raises(ModelError) as refused:
        served.reload("Tree")
    assert f"was trained on features {tags['features']}; today's are {feature_version()}" in refused.value.cause
    assert refused.value.remedy == "run the pipeline once more with today's code."

    world.add("Tree")
    served.reload("Tree")
    assert served.all()["Tree"].model.version == "2"
