"""Fetching by FTP."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ftp_server import asked
from phoenix_server import (
    BOX,
    SUN,
    SUN_LABELS,
    assert_all_there,
    library,
)

from blase3d.libraries import fetch as f
from blase3d.libraries.fetch import partial_files


def test_ftp(ftp, server, web, tmp_path):
    plan = f.make_plan(BOX, tmp_path, ftp.root, web)
    assert plan.exact
    assert plan.size == sum(map(len, library().values()))
    assert asked(ftp, "RETR") == []
    assert_all_there(f.fetch(plan, web=web), server)


def test_ftp_goes_on_inside_a_file(ftp, server, web, tmp_path):
    ftp.tricks[SUN] = [3000, 5000]
    plan = f.make_plan(BOX, tmp_path, ftp.root, web)
    assert_all_there(f.fetch(plan, web=web), server)
    assert asked(ftp, "REST") == ["REST 3000", "REST 5000"]


@pytest.mark.parametrize("unknown", [{"REST"}, {"SIZE", "MDTM"}, {"REST", "SIZE", "MDTM"}])
def test_ftp_servers_that_know_less(ftp, server, web, tmp_path, unknown):
    ftp.unknown = unknown
    ftp.tricks[SUN] = [3000]
    plan = f.make_plan(BOX, tmp_path, ftp.root, web)
    assert_all_there(f.fetch(plan, web=web), server)
    assert asked(ftp, "RETR").count(f"RETR {SUN}") >= 2


def test_ftp_never_joins_two_versions(ftp, server, web, tmp_path):
    part = partial_files.Part(tmp_path / SUN)
    part.start(partial_files.Source(ftp.root + SUN, len(library()[SUN]), modified="20120101000000"))
    part.path.write_bytes(bytes(3000))
    plan = f.make_plan(BOX, tmp_path, ftp.root, web)
    assert_all_there(f.fetch(plan, web=web), server)
    assert asked(ftp, "REST") == ["REST 3000"]


def test_ftp_without_a_file_of_the_list(ftp, web, tmp_path, naps):
    box = f.Box(teff=(5000, 5000), logg=(4, 4), feh=(0, 0))
    plan = f.make_plan(box, tmp_path, ftp.root, web)
    (remote,) = plan.missing
    lost = replace(remote, path=remote.path.replace("05000", "05050"))
    done = f.fetch(replace(plan, missing=(lost,)), web=web)
    assert "550 no such file" in done.failed[SUN_LABELS]
    assert naps == []
