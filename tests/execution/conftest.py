"""The searcher is tried on the same template as the samplers."""

from tests.search.conftest import nested as nested
