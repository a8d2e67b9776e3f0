import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { findLibrary, libraryFolders } from "../../src/doctor/libraries.ts";
import { findDrivers, findLoader } from "../../src/doctor/vulkan.ts";
import { hostOf, icdOf } from "../support/host-tree.ts";

let root: string;
beforeEach(() => (root = mkdtempSync(join(tmpdir(), "doctor-vulkan-"))));
afterEach(() => rmSync(root, { recursive: true }));

test("folders of libraries: LD_LIBRARY_PATH, ld.so.conf with what it includes, the standard ones; only those that are there", () => {
	const host = hostOf(
		root,
		{
			"/opt/own/libown.so": "",
			"/etc/ld.so.conf": "include /etc/ld.so.conf.d/*.conf\n/opt/listed # why\n",
			"/etc/ld.so.conf.d/a.conf": "# comment\n/usr/local/nvidia/lib64\n/not/there\n",
			"/etc/ld.so.conf.d/a.conf.dpkg-old": "/opt/old\n",
			"/usr/local/nvidia/lib64/libGLX_nvidia.so.0": "",
			"/opt/listed/x": "",
			"/opt/old/x": "",
			"/usr/lib/x86_64-linux-gnu/libvulkan.so.1": "",
			"/usr/lib/libvulkan.so.1": "",
		},
		{ LD_LIBRARY_PATH: "/nowhere:/opt/own" },
	);
	const folders = libraryFolders(host);
	expect(folders).toEqual([
		"/opt/own",
		"/usr/local/nvidia/lib64",
		"/opt/listed",
		"/usr/lib/x86_64-linux-gnu",
		"/usr/lib",
	]);
	expect(findLoader(host, folders, undefined)).toBe("/usr/lib/x86_64-linux-gnu/libvulkan.so.1");
	expect(findLoader(host, folders, "/nowhere")).toBe("/usr/lib/x86_64-linux-gnu/libvulkan.so.1");
	// Beside the package's binary, where Dawn looks first.
	expect(findLoader(host, folders, "/usr/lib")).toBe("/usr/lib/libvulkan.so.1");
	expect(findLibrary(host, "libGL.so.1", folders)).toBeUndefined();
});

test("a file of ld.so.conf that includes itself ends", () => {
	const host = hostOf(root, { "/etc/ld.so.conf": "include *.conf\n/lib\n", "/lib/x": "" });
	expect(libraryFolders(host)).toEqual(["/lib"]);
});

test("drivers of the standard folders, with what is wrong with each", () => {
	const host = hostOf(
		root,
		{
			"/etc/vulkan/icd.d/bare.json": icdOf("libGLX_nvidia.so.0"),
			"/etc/vulkan/icd.d/gone.json": icdOf("libgone.so"),
			"/etc/vulkan/icd.d/readme.txt": "not a driver",
			"/usr/share/vulkan/icd.d/broken.json": "{",
			"/usr/share/vulkan/icd.d/empty.json": "{}",
			"/usr/share/vulkan/icd.d/near.json": icdOf("../lib/libnear.so"),
			"/usr/share/vulkan/lib/libnear.so": "",
			"/home/me/.local/share/vulkan/icd.d/own.json": icdOf("/opt/driver/libown.so"),
			"/usr/lib/libGLX_nvidia.so.0": "",
		},
		{ HOME: "/home/me" },
	);
	const { variable, searched, drivers } = findDrivers(host, ["/usr/lib"]);
	expect(variable).toBeUndefined();
	expect(searched).toEqual([
		"/home/me/.config/vulkan/icd.d",
		"/etc/xdg/vulkan/icd.d",
		"/etc/vulkan/icd.d",
		"/home/me/.local/share/vulkan/icd.d",
		"/usr/local/share/vulkan/icd.d",
		"/usr/share/vulkan/icd.d",
	]);
	expect(drivers.map(({ file, libraryPath, problem }) => [file, libraryPath, problem])).toEqual([
		["/etc/vulkan/icd.d/bare.json", "/usr/lib/libGLX_nvidia.so.0", undefined],
		["/etc/vulkan/icd.d/gone.json", undefined, "its library libgone.so is not there"],
		[
			"/home/me/.local/share/vulkan/icd.d/own.json",
			undefined,
			"its library /opt/driver/libown.so is not there",
		],
		["/usr/share/vulkan/icd.d/broken.json", undefined, "it is not JSON with ICD.library_path"],
		["/usr/share/vulkan/icd.d/empty.json", undefined, "it is not JSON with ICD.library_path"],
		["/usr/share/vulkan/icd.d/near.json", "/usr/share/vulkan/lib/libnear.so", undefined],
	]);
});

test("VK_DRIVER_FILES before VK_ICD_FILENAMES, and both instead of the standard folders", () => {
	const files = {
		"/etc/vulkan/icd.d/standard.json": icdOf("/lib/a.so"),
		"/own/b.json": icdOf("/lib/b.so"),
		"/more/c.json": icdOf("/lib/c.so"),
		"/lib/b.so": "",
	};
	const named = { VK_DRIVER_FILES: "/own/b.json:/more", VK_ICD_FILENAMES: "/old.json" };
	const newer = findDrivers(hostOf(root, files, named), []);
	expect(newer.variable).toBe("VK_DRIVER_FILES");
	expect(newer.drivers.map(({ file }) => file)).toEqual(["/own/b.json", "/more/c.json"]);
	const older = findDrivers(hostOf(root, files, { ...named, VK_DRIVER_FILES: "" }), []);
	expect(older.variable).toBe("VK_ICD_FILENAMES");
	expect(older.drivers).toEqual([
		{
			file: "/old.json",
			library: undefined,
			libraryPath: undefined,
			problem: "there is no such file",
		},
	]);
	const added = findDrivers(hostOf(root, files, { VK_ADD_DRIVER_FILES: "/own/b.json" }), []);
	expect(added.drivers.map(({ file }) => file)).toEqual([
		"/own/b.json",
		"/etc/vulkan/icd.d/standard.json",
	]);
});
