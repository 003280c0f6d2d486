"""Real clients of HTTP/2, through every proxy that speaks it: curl always, the others where much is wanted."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from ingresskit.testing import pace
from ingresskit.testing.planes import Plane
from tests.dataplane.conftest import opened
from tests.dataplane.stage import Stage

pytestmark = pytest.mark.anyio

GO = """
package main

import ("crypto/tls"; "fmt"; "io"; "net/http"; "os"; "strings")

func main() {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	protocols.SetHTTP2(true)
	client := &http.Client{Transport: &http.Transport{
		Protocols: &protocols, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for _, url := range os.Args[1:] {
		for range 20 {
			response, err := client.Post(url, "text/plain", strings.NewReader(strings.Repeat("x", 100000)))
			if err != nil { fmt.Println(err); os.Exit(1) }
			body, _ := io.ReadAll(response.Body)
			fmt.Println(response.Proto, response.StatusCode, string(body))
		}
	}
}
"""
JAVA = """
import java.net.URI; import java.net.http.*; import java.security.cert.X509Certificate; import javax.net.ssl.*;
public class Client {
  static class Trusting extends X509ExtendedTrustManager {
    public void checkClientTrusted(X509Certificate[] c, String s) {}
    public void checkServerTrusted(X509Certificate[] c, String s) {}
    public void checkClientTrusted(X509Certificate[] c, String s, java.net.Socket k) {}
    public void checkServerTrusted(X509Certificate[] c, String s, java.net.Socket k) {}
    public void checkClientTrusted(X509Certificate[] c, String s, SSLEngine e) {}
    public void checkServerTrusted(X509Certificate[] c, String s, SSLEngine e) {}
    public X509Certificate[] getAcceptedIssuers() { return new X509Certificate[0]; }
  }
  public static void main(String[] urls) throws Exception {
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(null, new TrustManager[] {new Trusting()}, null);
    HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_2).sslContext(context).build();
    for (String url : urls) for (int i = 0; i < 20; i++) {
      var body = HttpRequest.BodyPublishers.ofString("x".repeat(100000));
      var request = HttpRequest.newBuilder(URI.create(url)).POST(body).build();
      var response = client.send(request, HttpResponse.BodyHandlers.ofString());
      System.out.println(response.version() + " " + response.statusCode() + " " + response.body());
    }
  }
}
"""


@pytest.fixture(params=["inprocess", "haproxy"], scope="module")
async def plane(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncGenerator[Plane]:
    async with opened(request.param) as made:
        yield made


async def run(*command: str) -> str:
    """What a program printed; it is to end well."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not here")
    with anyio.fail_after(pace.within(120)):
        done = await anyio.run_process(command, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return done.stdout.decode()


async def urls(stage: Stage) -> tuple[str, str]:
    """Where an endpoint responds ``ok``, without and with TLS, by a name that has a certificate nowhere."""
    endpoint = await stage.endpoint()
    await stage.serve(endpoint, host="localhost")
    assert stage.plane.https is not None
    return f"http://localhost:{stage.plane.http[1]}/", f"https://localhost:{stage.plane.https[1]}/"


@pytest.mark.parametrize("way", ["plain", "TLS"])
async def test_curl(stage: Stage, way: str) -> None:
    plain, secure = await urls(stage)
    asked = ["--http2-prior-knowledge", plain] if way == "plain" else ["--http2", "--insecure", secure]
    if way == "TLS" and stage.plane.name == "haproxy":
        pytest.skip("HAProxy 2.6 settles on no protocol where it shows the default certificate")
    found = await run("curl", "--silent", "--ipv4", "--write-out", " %{http_version} %{http_code}", *asked)

    assert found == "ok 2 200"


async def test_go(stage: Stage, tmp_path: Path, whole_wanted: bool) -> None:
    if not whole_wanted:
        pytest.skip("with --changes 1000")
    plain, secure = await urls(stage)
    program = tmp_path / "client.go"
    program.write_text(GO)
    asked = (plain, secure) if stage.plane.name == "inprocess" else (plain,)
    found = await run("go", "run", str(program), *asked)

    assert found.splitlines() == ["HTTP/2.0 200 ok"] * 20 * len(asked)


async def test_java(stage: Stage, tmp_path: Path, whole_wanted: bool) -> None:
    if not whole_wanted or stage.plane.name != "inprocess":
        pytest.skip("with --changes 1000, in-process")
    plain, secure = await urls(stage)
    program = tmp_path / "Client.java"
    program.write_text(JAVA)
    verify = "-Djdk.internal.httpclient.disableHostnameVerification=true"
    found = await run("java", verify, str(program), secure, plain)

    # It knows no prior knowledge: without TLS it offers an upgrade, which nobody takes.
    assert found.splitlines() == ["HTTP_2 200 ok"] * 20 + ["HTTP_1_1 200 ok"] * 20


async def test_chromium(stage: Stage, tmp_path: Path, whole_wanted: bool) -> None:
    if not whole_wanted or stage.plane.name != "inprocess":
        pytest.skip("with --changes 1000, in-process")
    _, secure = await urls(stage)
    before = getattr(stage.plane.statistics(), "http2_connections_total", 0)
    found = await run(
        *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors"),
        *(f"--user-data-dir={tmp_path}", "--dump-dom", secure),
    )

    assert ">ok<" in found
    assert getattr(stage.plane.statistics(), "http2_connections_total", 0) > before
