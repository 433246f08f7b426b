"""The version of the code that a run is kept for."""

from benchmarks.experiments import code_version


def test_code_version_ignores_prose_only(tmp_path):
    texts = ['"""a"""\nx = 1  # b\n', '"""c"""\n\nx = 1\n', "x = 2\n"]
    trees = []
    for text in texts:
        path = tmp_path / "m.py"
        path.write_text(text)
        trees.append(code_version._without_prose(path))
    assert trees[0] == trees[1] != trees[2]
