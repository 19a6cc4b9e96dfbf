"""The files of a project, of which new services and tests make copies."""

from pathlib import Path

from kit.scaffolding.project_files import files_of, git


def test_new_files_belong_to_a_project_before_they_are_added_to_git_but_ignored_ones_do_not(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    for name, text in {".gitignore": "*.log\n", "main.py": "", "new.py": "", "trace.log": "", "deleted.py": ""}.items():
        (tmp_path / name).write_text(text)
    git(tmp_path, "add", "main.py", "deleted.py")
    (tmp_path / "deleted.py").unlink()
    assert files_of(tmp_path) == [".gitignore", "main.py", "new.py"]
