import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rootCertificates } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isHfStreamDcpError } from "../../src/core/errors.ts";
import { readEnvironment } from "../../src/fetch/environment.ts";

const home = mkdtempSync(join(tmpdir(), "environment-"));
const tokenFile = join(home, ".cache/huggingface/token");
afterAll(() => rmSync(home, { recursive: true }));

function read(variables: Record<string, string>) {
	return readEnvironment({ HOME: home, ...variables });
}

function failure(variables: Record<string, string>) {
	try {
		read(variables);
	} catch (error) {
		if (isHfStreamDcpError(error, "OPTIONS_INVALID")) return error;
		throw error;
	}
	throw new Error("no error");
}

test("without any variable", () => {
	expect(read({})).toEqual({
		endpoint: "https://huggingface.co",
		token: undefined,
		cacheDir: join(home, ".cache/huggingface/hub"),
		offline: false,
		ca: undefined,
		userAgent: expect.stringMatching(/^hf-stream-dcp; node\/\d/) as string,
		proxy: { httpProxy: "", httpsProxy: "", noProxy: "" },
		metadataTimeoutMs: 10_000,
		downloadTimeoutMs: 10_000,
	});
});

test("empty variables count as not set", () => {
	const names = [
		"HF_TOKEN",
		"HF_HOME",
		"HF_HUB_CACHE",
		"HF_ENDPOINT",
		"SSL_CERT_FILE",
		"http_proxy",
	];
	expect(read(Object.fromEntries(names.map((name) => [name, ""])))).toEqual(read({}));
});

describe("cache", () => {
	test.each([
		[{ HF_HUB_CACHE: "/a", HUGGINGFACE_HUB_CACHE: "/b", HF_HOME: "/c" }, "/a"],
		[{ HUGGINGFACE_HUB_CACHE: "/b", HF_HOME: "/c" }, "/b"],
		[{ HF_HOME: "/c", XDG_CACHE_HOME: "/d" }, "/c/hub"],
		[{ XDG_CACHE_HOME: "/d" }, "/d/huggingface/hub"],
		[{}, join(home, ".cache/huggingface/hub")],
		[{ HF_HUB_CACHE: "~/x" }, join(home, "x")],
		[{ HF_HUB_CACHE: "~" }, home],
		[{ HF_HUB_CACHE: "$SCRATCH/x", SCRATCH: "/s" }, "/s/x"],
		[{ HF_HOME: "/s/${USER}/hf", USER: "me" }, "/s/me/hf/hub"],
		[{ HF_HUB_CACHE: "/s/$NOBODY_SET_THIS/x" }, "/s/$NOBODY_SET_THIS/x"],
		[{ HF_HUB_CACHE: "relative" }, join(process.cwd(), "relative")],
	])("%j", (variables, expected) => {
		expect(read(variables).cacheDir).toBe(expected);
	});
});

describe("token", () => {
	beforeAll(() => {
		mkdirSync(join(home, ".cache/huggingface"), { recursive: true });
		writeFileSync(tokenFile, "hf_file\n");
		writeFileSync(join(home, "other"), " hf_other \r\n");
		writeFileSync(join(home, "blank"), " \n");
	});
	afterAll(() => rmSync(tokenFile));

	test.each([
		[{ HF_TOKEN: "hf_1", HUGGING_FACE_HUB_TOKEN: "hf_2" }, "hf_1"],
		[{ HUGGING_FACE_HUB_TOKEN: "hf_2" }, "hf_2"],
		[{}, "hf_file"],
		[{ HF_TOKEN: " hf_1\r\n" }, "hf_1"],
		[{ HF_TOKEN: " \n" }, "hf_file"],
		[{ HF_TOKEN: "no-prefix" }, "no-prefix"],
		[{ HF_TOKEN_PATH: "~/other" }, "hf_other"],
		[{ HF_TOKEN_PATH: "~/blank" }, undefined],
		[{ HF_TOKEN_PATH: "~/missing" }, undefined],
		[{ HF_HOME: "~/nothing-here" }, undefined],
		[{ HF_TOKEN: "hf_1", HF_HUB_DISABLE_IMPLICIT_TOKEN: "yes" }, undefined],
		[{ HF_TOKEN: "hf_1", HF_HUB_DISABLE_IMPLICIT_TOKEN: "0" }, "hf_1"],
		[{ HF_TOKEN: "hf_1", HF_HUB_OFFLINE: "1" }, undefined],
		[{ HF_TOKEN: "hf_1", HF_OIDC_RESOURCE: "org/name" }, "hf_1"],
	])("%j", (variables, expected) => {
		expect(read(variables).token).toBe(expected);
	});

	test.each(["hf_a b", "hf_a\u0000", "hf_é", "hf_a\nhf b"])(
		"refuses %j without showing it",
		(token) => {
			const error = failure({ HF_TOKEN: token });
			expect(error.message).toContain("HF_TOKEN");
			expect(`${error.message} ${error.hint}`).not.toContain(token.slice(0, 4));
		},
	);

	test("names the token file that is a directory", () => {
		expect(failure({ HF_TOKEN_PATH: "~" }).message).toBe(`the token file ${home} cannot be read`);
	});

	test("does not pretend to exchange OIDC tokens", () => {
		expect(failure({ HF_OIDC_RESOURCE: "org/name" }).message).toContain("HF_OIDC_RESOURCE");
	});
});

describe("endpoint", () => {
	test.each([
		["https://hub.example", "https://hub.example"],
		["https://hub.example///", "https://hub.example"],
		["http://localhost:8080/hf/", "http://localhost:8080/hf"],
		[" https://hub.example ", "https://hub.example"],
	])("%s", (value, expected) => {
		expect(read({ HF_ENDPOINT: value }).endpoint).toBe(expected);
	});

	test.each([
		"hub.example",
		"ftp://hub.example",
		"https://",
		"https://me:secret@hub.example",
		"https://h/?a",
		"https://h/#a",
	])("refuses %s", (value) => {
		const { message } = failure({ HF_ENDPOINT: value });
		expect(message).toContain("HF_ENDPOINT");
		expect(message).not.toContain("secret");
	});
});

describe("offline", () => {
	test.each([
		[{ HF_HUB_OFFLINE: "1" }, true],
		[{ HF_HUB_OFFLINE: "true" }, true],
		[{ HF_HUB_OFFLINE: "On" }, true],
		[{ HF_HUB_OFFLINE: "2" }, false],
		[{ TRANSFORMERS_OFFLINE: "YES" }, true],
		[{ HF_HUB_OFFLINE: "0", TRANSFORMERS_OFFLINE: "1" }, false],
		[{ HF_HUB_OFFLINE: "", TRANSFORMERS_OFFLINE: "1" }, true],
	])("%j: %s", (variables, expected) => {
		expect(read(variables).offline).toBe(expected);
	});
});

describe("timeouts", () => {
	test.each([
		[{ HF_HUB_ETAG_TIMEOUT: "3", HF_HUB_DOWNLOAD_TIMEOUT: "60" }, 3000, 60_000],
		[{ HF_HUB_ETAG_TIMEOUT: "0" }, 10_000, 10_000],
	])("%j", (variables, metadata, download) => {
		const environment = read(variables);
		expect([environment.metadataTimeoutMs, environment.downloadTimeoutMs]).toEqual([
			metadata,
			download,
		]);
	});

	test.each(["ten", "1.5", "-1", "1e3"])("refuses %s", (value) => {
		expect(failure({ HF_HUB_DOWNLOAD_TIMEOUT: value }).message).toContain(
			`HF_HUB_DOWNLOAD_TIMEOUT must be a whole number of seconds, but is "${value}"`,
		);
	});
});

describe("proxies", () => {
	test.each([
		[{ http_proxy: "http://a:1", HTTP_PROXY: "http://b:2" }, "http://a:1", "", ""],
		[{ HTTPS_PROXY: "http://b:2", NO_PROXY: "x,.y" }, "", "http://b:2", "x,.y"],
		[{ ALL_PROXY: "http://c:3" }, "http://c:3", "http://c:3", ""],
		[{ all_proxy: "socks5://c:3", https_proxy: "https://d" }, "socks5://c:3", "https://d", ""],
		[{ http_proxy: "proxy.example:3128" }, "http://proxy.example:3128", "", ""],
	])("%j", (variables, httpProxy, httpsProxy, noProxy) => {
		expect(read(variables).proxy).toEqual({ httpProxy, httpsProxy, noProxy });
	});

	test.each(["socks4://a:1", "http://", "ftp://a"])("refuses %s", (value) => {
		expect(failure({ ALL_PROXY: value }).message).toContain("ALL_PROXY is not the URL");
	});
});

describe("certificates", () => {
	const pem = `# some root\n${rootCertificates[0]}\n${rootCertificates[1]}\n`;
	beforeAll(() => {
		writeFileSync(join(home, "ca.pem"), pem);
		writeFileSync(join(home, "not.pem"), "nothing");
		writeFileSync(
			join(home, "broken.pem"),
			"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		);
	});

	test.each(["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])("%s", (variable) => {
		expect(read({ [variable]: "~/ca.pem" }).ca).toBe(pem);
	});

	test("the first one set is taken", () => {
		const variables = { SSL_CERT_FILE: "~/ca.pem", REQUESTS_CA_BUNDLE: "~/missing.pem" };
		expect(read(variables).ca).toBe(pem);
	});

	test.each(["missing.pem", "not.pem", "broken.pem"])("refuses %s", (file) => {
		const error = failure({ REQUESTS_CA_BUNDLE: `~/${file}` });
		expect(error.message).toMatch(`REQUESTS_CA_BUNDLE names ${join(home, file)}, which`);
		expect(error.hint).toMatch(/REQUESTS_CA_BUNDLE/);
	});
});
