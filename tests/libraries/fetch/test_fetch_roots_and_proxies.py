"""Addresses of a library, the files that it must have, and proxies."""

from __future__ import annotations

import io
import urllib.parse
from typing import ClassVar

import pytest
from astropy.io import fits
from phoenix_server import (
    BOX,
    NODES,
    WAVE,
    assert_all_there,
    in_bytes,
)

from blase3d.errors import GridError, InputError
from blase3d.libraries import fetch as f
from blase3d.libraries.fetch import listing
from blase3d.libraries.readers.phoenix import WAVE_FILE


def test_a_library_without_wavelengths(server, web, tmp_path):
    del server.files[WAVE_FILE]
    with pytest.raises(GridError, match=f"has no {WAVE_FILE}"):
        f.make_plan(BOX, tmp_path, server.root, web)


def test_bad_wavelengths(server, bring):
    server.files[WAVE_FILE] = in_bytes(fits.HDUList([fits.PrimaryHDU(WAVE[::-1])]))
    with pytest.raises(GridError, match=r"WAVE_.*increas"):
        bring()
    assert server.gets() == []


def test_a_range_outside_is_refused_before_spectra_come(server, bring):
    with pytest.raises(GridError, match="choose a range inside"):
        bring(wave=(100.0, 200.0))
    assert server.gets() == []


def test_no_server_at_all(web, tmp_path, naps):
    with pytest.raises(GridError, match=r"no PHOENIX library is reached at .*refused.*--root"):
        f.make_plan(BOX, tmp_path, "http://127.0.0.1:9/data", web)
    assert naps == [1.0]


def test_the_published_roots_are_tried_in_turn(server, web, tmp_path, monkeypatch):
    roots = ("http://127.0.0.1:9/", server.root.replace("data", "elsewhere"), server.root)
    monkeypatch.setattr(listing, "ROOTS", roots)
    assert f.make_plan(BOX, tmp_path, None, web).root == server.root
    hosts = {urllib.parse.urlsplit(root).netloc for root in f.ROOTS}
    assert hosts == {"phoenix.astro.physik.uni-goettingen.de"}


@pytest.mark.parametrize(
    "root", ["phoenix.org/data", "file:///etc/", "https:///data", "ftp://phoenix.org/data/"]
)
def test_a_root_has_to_be_an_address(web, tmp_path, root):
    with pytest.raises(InputError, match=r"expected an address .*FTP is not supported"):
        f.make_plan(BOX, tmp_path, root, web)


def test_a_server_without_the_box(server, web, tmp_path):
    with pytest.raises(GridError, match="has no spectrum with teff=5010:5020 alpha=0:0"):
        f.make_plan(f.Box(teff=(5010, 5020)), tmp_path, server.root, web)


def test_a_listing_that_is_cut_off_makes_no_holes(server, web, tmp_path):
    """A list that ends early looks whole; every one is read again until it is."""
    seen = []

    class Page(io.BytesIO):
        headers: ClassVar[dict[str, str]] = {}

    class Cutting:
        def open(self, request, timeout):
            if request.full_url.endswith("/") and request.full_url not in seen:
                seen.append(request.full_url)
                return Page(b"<html><ul><li>lte")
            return web.opener.open(request, timeout=timeout)

    plan = f.make_plan(BOX, tmp_path, server.root, f.Web(opener=Cutting(), sleep=lambda s: None))
    assert len(plan.holes) == 1
    assert len(seen) == 3


def test_the_proxy_of_the_environment_is_used(server, tmp_path, monkeypatch):
    """For the plan and the spectra; the proxy is asked for whole addresses."""
    monkeypatch.setenv("http_proxy", server.root.removesuffix("/data/HiResFITS/"))
    root = "http://library.invalid/data/HiResFITS/"
    done = f.fetch(f.make_plan(BOX, tmp_path, root))
    assert_all_there(done, server)
    assert {line.split(" ")[1].startswith(root) for line in server.lines} == {True}


def test_no_proxy_is_heeded(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    assert len(f.make_plan(BOX, tmp_path, server.root).missing) == len(NODES)
    monkeypatch.delenv("no_proxy")
    with pytest.raises(GridError, match="check the network and the proxy"):
        f.make_plan(BOX, tmp_path, server.root, f.Web(sleep=lambda s: None))


def test_https_goes_through_a_tunnel_of_the_proxy(server, tmp_path, monkeypatch):
    monkeypatch.setenv("https_proxy", server.root.removesuffix("/data/HiResFITS/"))
    with pytest.raises(GridError, match=r"--root"):  # this proxy makes none
        f.make_plan(BOX, tmp_path, "https://library.invalid/", f.Web(sleep=lambda s: None))
    assert {line.rpartition(" ")[0] for line in server.lines} == {"CONNECT library.invalid:443"}
