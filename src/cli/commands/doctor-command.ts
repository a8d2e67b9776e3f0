import { type Command, Option } from "commander";
import { diagnose, HfStreamDcpError } from "../../index.ts";
import { findingsOf, renderDiagnosis } from "../diagnosis/render.ts";
import { expandHome } from "../expand-home.ts";
import type { FlagValues } from "../flags.ts";
import { examplesHelp, exitCodeHelp } from "../help.ts";
import { watchInterrupts } from "../interrupt.ts";
import type { CliIo } from "../io.ts";

/** Adds `doctor`, which says what of this machine conversions can use, a GPU above all. */
export function addDoctorCommand(program: Command, io: CliIo): void {
	program
		.command("doctor")
		.usage("[directory] [flags]")
		.summary("say what of this machine conversions can use: Node, disk, token, GPU")
		.description(
			"Say what of this machine conversions can use, and what is missing for a GPU. Nothing is\nfetched. Drivers are called in a process of their own. The token is not printed.",
		)
		.argument("[directory]", "where checkpoints are to be made (default: here)")
		.addOption(
			new Option(
				"--device <device>",
				"webgpu: exit with 7 when no GPU can be used; cpu: do not look for one",
			)
				.choices(["auto", "cpu", "webgpu"])
				.default("auto"),
		)
		.option("--json", "everything, as JSON")
		.addHelpText(
			"after",
			examplesHelp(["hf-stream-dcp doctor", "hf-stream-dcp doctor /ckpt --device webgpu --json"]),
		)
		.addHelpText("after", exitCodeHelp())
		.action((directory: string | undefined, values: FlagValues) =>
			runDoctor(io, directory, values),
		);
}

async function runDoctor(
	io: CliIo,
	directory: string | undefined,
	values: FlagValues,
): Promise<void> {
	using interrupts = watchInterrupts(io, { onFirst: () => {} });
	const diagnosis = await diagnose({
		directory: directory === undefined ? undefined : expandHome(directory, io.env),
		gpu: values["device"] !== "cpu",
		environment: io.env,
		signal: interrupts.signal,
	});
	io.stdout.write(
		values["json"] === true
			? `${JSON.stringify({ ...diagnosis, findings: findingsOf(diagnosis) }, undefined, "\t")}\n`
			: `${renderDiagnosis(diagnosis)}\n`,
	);
	const { hub } = diagnosis.machine;
	if (hub.problem !== undefined) {
		throw new HfStreamDcpError("OPTIONS_INVALID", hub.problem, {
			hint: "Correct it, or unset the variable.",
		});
	}
	const problem = diagnosis.gpu?.problem;
	if (values["device"] === "webgpu" && problem !== undefined) {
		throw new HfStreamDcpError("DEVICE_UNAVAILABLE", `no GPU can be used: ${problem}`, {
			hint: "The lines above say what is missing. Without --device webgpu the CPU does the work.",
		});
	}
}
