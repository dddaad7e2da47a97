import re
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from otel_mlflow_context.detectors.repository.url import browsable_url, owner_and_name, provider


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("https://github.com/acme/shop.git", "https://github.com/acme/shop"),
        ("https://github.com/acme/shop/", "https://github.com/acme/shop"),
        ("https://github.com/acme/shop.git/", "https://github.com/acme/shop"),
        ("https://host/acme/shop/.git", "https://host/acme/shop"),
        ("  https://github.com/acme/shop\n", "https://github.com/acme/shop"),
        ("HTTPS://GitHub.COM/Acme/Shop.git", "https://github.com/Acme/Shop"),
        ("http://host/acme/shop.git", "http://host/acme/shop"),
        ("git@github.com:acme/shop.git", "https://github.com/acme/shop"),
        ("github.com:acme/shop.git", "https://github.com/acme/shop"),
        ("git@github.com:/acme/shop.git", "https://github.com/acme/shop"),
        ("ssh://git@github.com/acme/shop.git", "https://github.com/acme/shop"),
        ("git+ssh://git@github.com/acme/shop.git", "https://github.com/acme/shop"),
        ("git+https://github.com/acme/shop.git", "https://github.com/acme/shop"),
        ("git://github.com/acme/shop.git", "https://github.com/acme/shop"),
        ("https://host/acme//shop.git", "https://host/acme/shop"),
        ("https://host/acme/shop.git.git", "https://host/acme/shop"),
    ],
)
def test_every_way_to_write_a_remote_becomes_its_web_address(remote, url):
    assert browsable_url(remote) == url


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("https://user:secret@host/o/r.git", "https://host/o/r"),
        ("https://secret@host/o/r.git", "https://host/o/r"),
        ("https://user:sec@ret@host/o/r.git", "https://host/o/r"),
        ("https://user:secret%40%2F@host/o/r.git", "https://host/o/r"),
        ("HTTPS://user:secret@HOST/o/r.git", "https://host/o/r"),
        ("ssh://git:secret@host.example:22/o/r.git", "https://host.example/o/r"),
        ("secret:x@h.example:o/r.git", "https://h.example/o/r"),
        ("https://host/o/r.git?private_token=secret", "https://host/o/r"),
        ("https://host/o/r.git#secret", "https://host/o/r"),
        ("git@host.example:o/r.git?token=secret", "https://host.example/o/r"),
    ],
)
def test_credentials_query_and_fragment_are_dropped(remote, url):
    assert browsable_url(remote) == url


@pytest.mark.parametrize(
    "remote",
    [
        "https://u:p/a@ss@host/o/r.git",
        "https://u:123/secret@host/o/r.git",
        "https://u:p#secret@host/o/r.git",
        "https://u:p?secret@host/o/r.git",
        "https://token/more?secret@host",
        "https://u:p@host/o/r.git?private_token=a/b@secret/tail",
        "https://host/user:secret@other/o/r",
        "https://host/user:secret/o/r",
        "https://host/user%3Asecret%40other/o/r",
        "https://host/o/r&token=secret",
        "https://host/https://user:secret@other/o/r",
        "https:/user:secret@host/o/r",
        "https:user:secret@host:443/o/r",
        "u:se/cret@host:o/r.git",
        "git@host:o/r@secret:x/y",
    ],
)
def test_a_remote_that_may_show_a_credential_has_no_web_address(remote):
    assert browsable_url(remote) is None


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("https://host:8443/o/r.git", "https://host:8443/o/r"),
        ("https://host:443/o/r.git", "https://host/o/r"),
        ("http://host:8080/o/r.git", "http://host:8080/o/r"),
        ("https://host:/o/r.git", "https://host/o/r"),
        ("ssh://git@host.example:7999/o/r.git", "https://host.example/o/r"),
        ("git://host:9418/o/r.git", "https://host/o/r"),
        ("ssh://git@ssh.github.com:443/o/r.git", "https://github.com/o/r"),
        ("https://[2001:DB8::1]:8443/o/r.git", "https://[2001:db8::1]:8443/o/r"),
        ("ssh://git@[::1]:22/o/r.git", "https://[::1]/o/r"),
        ("git@[::1]:o/r.git", "https://[::1]/o/r"),
    ],
)
def test_only_the_port_of_a_web_server_is_kept(remote, url):
    assert browsable_url(remote) == url


@pytest.mark.parametrize(
    "remote", ["git@work:acme/shop.git", "work:acme/shop", "ssh://git@work/acme/shop"]
)
def test_an_alias_of_ssh_has_no_web_address_but_that_of_its_host(remote):
    assert browsable_url(remote) is None
    assert browsable_url(remote, {"work": "github.com"}.get) == "https://github.com/acme/shop"


@pytest.mark.parametrize(
    "remote",
    [
        r"C:\repo",
        r"C:\Users\me\repo.git",
        "C:/repo",
        "c:repo",
        r"\\server\share\repo",
        "/home/me/repo.git",
        "../repo",
        "repo",
        ".",
        "",
        "repo.bundle",
        "/home/me/repo.bundle",
        "file:///home/me/repo.git",
        "file:/home/me/repo.git",
        "FILE://host/home/me/repo.git",
        "ext::sh -c 'cat /home/me/%s'",
        "codecommit::eu-west-1://repo",
        "hg::https://host/o/r",
        "s3://bucket/repo",
        "https://",
        "https://host",
        "https://host/",
        "https:///o/r",
        "https://host:port/o/r",
        "https://host/o/../r",
        "//host/o/r",
        "github.com/o/r",
        "https://host/" + "r" * 3_000,
    ],
)
def test_what_no_browser_opens_has_no_web_address(remote):
    assert browsable_url(remote) is None


@pytest.mark.parametrize(
    "remote",
    [
        "git@ssh.dev.azure.com:v3/acme/web%20app/shop",
        "ssh://git@ssh.dev.azure.com/v3/acme/web%20app/shop",
        "acme@vs-ssh.visualstudio.com:v3/acme/web%20app/shop",
        "https://acme@dev.azure.com/acme/web%20app/_git/shop",
    ],
)
def test_azure_devops_has_one_address_for_ssh_and_https(remote):
    url = browsable_url(remote)
    assert url == "https://dev.azure.com/acme/web%20app/_git/shop"
    assert owner_and_name(url) == ("acme/web app", "shop")


def test_an_azure_remote_of_another_form_has_no_web_address():
    assert browsable_url("git@ssh.dev.azure.com:v3/acme/shop") is None


@pytest.mark.parametrize(
    ("url", "owner", "name"),
    [
        ("https://github.com/acme/shop", "acme", "shop"),
        ("https://gitlab.com/acme/web/team/shop", "acme/web/team", "shop"),
        ("https://gist.github.com/0123abcd", None, "0123abcd"),
        ("https://dev.azure.com/acme/_git/shop", "acme", "shop"),
        ("https://acme.visualstudio.com/web/_git/shop", "web", "shop"),
        ("https://dev.azure.com/_git", None, "_git"),
    ],
)
def test_the_owner_is_all_that_stands_before_the_name(url, owner, name):
    assert owner_and_name(url) == (owner, name)


@pytest.mark.parametrize(
    ("url", "value"),
    [
        ("https://github.com/o/r", "github"),
        ("https://gitlab.com/o/r", "gitlab"),
        ("https://gitea.com/o/r", "gitea"),
        ("https://bitbucket.org/o/r", "bitbucket"),
        ("https://gitlab.example.com/o/r", None),
        ("https://github.com.example.com/o/r", None),
    ],
)
def test_the_provider_is_named_for_well_known_hosts_only(url, value):
    assert provider(url) == value


# --- Properties ------------------------------------------------------------------------------

# So many marks that no part of a URL that is not the secret could look like it.
_SECRETS = st.text(
    st.sampled_from("/@:?#%[]\\ .;&=~\t\n\x00é漢@" + "XYZQ0189") | st.characters(), min_size=6
).filter(lambda secret: len(set(secret)) > 3)
_FORMS = (
    "https://{}@host/o/r.git",
    "https://user:{}@host/o/r.git",
    "https://{}:x-oauth-basic@host/o/r.git",
    "HTTP://user:{}@host:8080/o/r.git",
    "ssh://user:{}@host:22/o/r.git",
    "git+ssh://{}@host/o/r.git",
    "git://user:{}@host/o/r.git",
    "user:{}@host:o/r.git",
    "{}@host:o/r.git",
    "https://host/o/r.git?private_token={}",
    "https://host/o/r.git#{}",
    "https://user:{0}@host/o/r.git?private_token={0}#{0}",
    "git@host:o/r.git?token={}",
    "https://host/user:{}@other/o/r.git",
    "https://host/https://user:{}@other/o/r.git",
)


@given(form=st.sampled_from(_FORMS), secret=_SECRETS)
@example(form="https://user:{}@host/o/r.git", secret="p/a@ss")
@example(form="https://user:{}@host/o/r.git", secret="1/@x/y")
@example(form="user:{}@host:o/r.git", secret="//abc")
def test_a_secret_never_appears_whatever_it_is_made_of(form, secret):
    assume(secret.strip("/. \t\n"))
    for written in (
        secret,
        quote(secret, safe="", errors="replace"),
        quote(secret, errors="replace"),
    ):
        url = browsable_url(form.format(written)) or ""
        assert secret not in url
        assert written not in url
        assert url in {"", "https://host/o/r", "http://host:8080/o/r"}


_REMOTES = st.one_of(
    st.text(),
    st.text("htpsgi:/@.?#%[]\\ ~ab0-+"),
    st.from_regex(r"(https?|ssh|git)://([a-z]+(:[a-z]*)?@)?[a-z.]+(:[0-9]+)?(/[\w.%]+){1,4}"),
    st.from_regex(r"([a-z]+@)?[A-Za-z.]+:(/?[\w.~-]+){1,4}(\.git)?/?"),
)


@given(_REMOTES)
def test_the_web_address_is_always_plain_http_and_stays_what_it_is(remote):
    url = browsable_url(remote)
    assert url is None or re.fullmatch(r"https?://[^@\s?#]+", url)
    assert url is None or browsable_url(url) == url


@given(_REMOTES)
def test_every_web_address_has_a_repository_name(remote):
    if url := browsable_url(remote):
        assert owner_and_name(url)[1]
