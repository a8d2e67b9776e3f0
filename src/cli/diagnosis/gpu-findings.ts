import type { Diagnosis } from "../../index.ts";
import { formatMemory, plural } from "../format.ts";
import type { Finding, FindingState } from "./finding.ts";
import { hintForLoadError, INSTALL_COMMAND } from "./load-hint.ts";

type Gpu = NonNullable<Diagnosis["gpu"]>;

function finding(state: FindingState, text: string, hint?: string): Finding {
	return { area: "gpu", state, text, hint };
}

/** What was seen of a GPU, in the order in which one thing needs the other: package, loader, drivers, device, kernels. */
export function gpuFindings(gpu: Gpu): readonly Finding[] {
	return [
		...packageFindings(gpu),
		...(gpu.vulkan === undefined ? [] : vulkanFindings(gpu, gpu.vulkan)),
		...hardwareFindings(gpu),
		...(gpu.examination === undefined ? [] : deviceFindings(gpu.examination, lackOf(gpu))),
	];
}

/** A missing driver is no problem where there is nothing to drive. */
function lackOf({ usable, nvidia, vulkan, renderDevices }: Gpu): FindingState {
	const isBare = vulkan?.drivers.length === 0 && nvidia === undefined && renderDevices.length === 0;
	return usable || isBare ? "note" : "problem";
}

function packageFindings({ package: installed, examination }: Gpu): Finding[] {
	if (installed === undefined) {
		return [
			finding(
				"note",
				"the optional package webgpu is not installed",
				`To use a GPU: ${INSTALL_COMMAND} (133 MB), beside this package; with -g, if this one was installed so.`,
			),
		];
	}
	const name = `package webgpu ${installed.version ?? "of an unknown version"}`;
	const { failure } = examination ?? {};
	if (failure?.step === "package") {
		const { message, hint } = installed.problem ?? {
			message: failure.message,
			hint: `Install it again: ${INSTALL_COMMAND}`,
		};
		return [finding("problem", `${name}: ${message}`, hintForLoadError(failure.message) ?? hint)];
	}
	if (installed.problem !== undefined) {
		return [finding("problem", `${name}: ${installed.problem.message}`, installed.problem.hint)];
	}
	return [finding("ok", name)];
}

function vulkanFindings(gpu: Gpu, vulkan: NonNullable<Gpu["vulkan"]>): Finding[] {
	const loader =
		gpu.loader === undefined
			? finding(
					lackOf(gpu),
					"Vulkan's loader, libvulkan.so.1, was not found",
					"Debian and Ubuntu: `apt-get install libvulkan1`; Red Hat: `dnf install vulkan-loader`.",
				)
			: finding("ok", `Vulkan's loader: ${gpu.loader}`);
	const { variable, drivers, searched } = vulkan;
	const from = variable === undefined ? "" : ` (${variable})`;
	if (drivers.length === 0) {
		return [
			loader,
			finding(
				lackOf(gpu),
				`no Vulkan driver: no ICD file in ${searched.join(", ")}`,
				"Install the GPU's driver with its graphics part; docs/gpu.md says which package it is.",
			),
		];
	}
	return [
		loader,
		...drivers.map(({ file, libraryPath, problem }) => {
			const unloadable = libraryPath === undefined ? undefined : gpu.unloadable[libraryPath];
			if (problem !== undefined) {
				const hint =
					variable === undefined
						? "Install the driver again, or remove the file."
						: `Correct or unset ${variable}.`;
				return finding("problem", `driver ${file}${from}: ${problem}`, hint);
			}
			if (unloadable === undefined) return finding("ok", `driver ${file}${from}: ${libraryPath}`);
			return finding(
				"problem",
				`driver ${file}${from}: ${libraryPath} cannot be loaded: ${unloadable}`,
				hintForLoadError(unloadable) ?? "Install the driver again.",
			);
		}),
	];
}

function hardwareFindings(gpu: Gpu): Finding[] {
	const { nvidia, renderDevices, usable, examination } = gpu;
	if (gpu.vulkan === undefined) return [];
	if (nvidia === undefined && renderDevices.length === 0) {
		return [finding("note", "no GPU is visible: neither /dev/nvidia0 nor /dev/dri/renderD128")];
	}
	// What is missing does no harm when a GPU works without it.
	if (usable && examination?.adapter?.isSoftware === false) return seenFindings(gpu);
	const closed = renderDevices.filter(({ isAccessible }) => !isAccessible);
	return [
		...seenFindings(gpu),
		...(nvidia?.problems ?? []).map(({ message, hint }) => finding("problem", message, hint)),
		...closed.map(({ path }) =>
			finding(
				"problem",
				`${path} may not be opened by this user`,
				"Join the group that owns it, `render` or `video`; start a container with `--device /dev/dri`.",
			),
		),
	];
}

function seenFindings({ nvidia, renderDevices }: Gpu): Finding[] {
	if (nvidia === undefined) {
		return [finding("ok", `GPU: ${renderDevices.map(({ path }) => path).join(", ")}`)];
	}
	const { driverVersion, models, devices, isContainer } = nvidia;
	const what = models.length === 0 ? plural(devices.length, "device file") : countNames(models);
	const version = driverVersion === undefined ? "" : `, driver ${driverVersion}`;
	const where = isContainer ? ", seen from a container" : "";
	return [finding("ok", `NVIDIA: ${what}${version}${where}`)];
}

/** `8 × NVIDIA H200` */
function countNames(names: readonly string[]): string {
	const counts = new Map<string, number>();
	for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
	return [...counts].map(([name, count]) => (count === 1 ? name : `${count} × ${name}`)).join(", ");
}

function deviceFindings(seen: NonNullable<Gpu["examination"]>, lack: FindingState): Finding[] {
	const { adapters, adapter, kernels, failure } = seen;
	const findings: Finding[] = [];
	if (adapters.length > 1)
		findings.push(finding("note", `devices: ${countNames(adapters)}; one is used`));
	if (adapter !== undefined) {
		const { vendor, architecture, description, device, isSoftware } = adapter;
		const names = [description || device, `vendor ${vendor || "unknown"}`];
		if (architecture !== "") names.push(`architecture ${architecture}`);
		findings.push(
			isSoftware
				? finding(
						"note",
						`device: ${names.join(", ")}, in software: the CPU plays a GPU, which is slow; --device auto does not use it`,
					)
				: finding("ok", `device: ${names.join(", ")}`),
			...limitFindings(seen),
		);
	}
	if (kernels.length > 0 && kernels.every(({ ok }) => ok)) {
		const names = kernels.map(({ kernel }) => kernel).join(", ");
		findings.push(finding("ok", `self-test: same bits as the CPU from ${names}`));
	}
	// What the other findings say already: the package's failure, and what to do about an adapter that is missing.
	if (failure === undefined || failure.step === "package") return findings;
	const isAbsent = failure.step === "adapter" && failure.crashed !== true;
	findings.push(
		isAbsent ? finding(lack, failure.message) : finding("problem", failure.message, failure.hint),
	);
	return findings;
}

function limitFindings({ limits = {} }: NonNullable<Gpu["examination"]>): Finding[] {
	const texts = Object.entries(limits).map(([name, value]) => {
		return `${name} ${name.endsWith("Size") ? formatMemory(value) : value}`;
	});
	return texts.length === 0 ? [] : [finding("ok", `limits: ${texts.join(", ")}`)];
}
