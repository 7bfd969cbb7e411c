"""The revisions of this version, read without Alembic."""

from alembic.script import ScriptDirectory

from smarttext_pipelines.schema.migrate import alembic_config
from smarttext_pipelines.schema.revisions import known_revisions, newest_revision


def test_the_names_of_the_files_say_the_revisions_and_their_order_as_alembic_reads_them() -> None:
    scripts = ScriptDirectory.from_config(alembic_config())
    assert list(known_revisions()) == [script.revision for script in scripts.walk_revisions()][::-1]
    assert newest_revision() == scripts.get_current_head()
