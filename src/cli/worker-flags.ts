import { type Command, Option } from "commander";

/** Adds the flags that say who does the work of a conversion. */
export function addWorkerFlags(command: Command): Command {
	const add = (flags: string, description: string): void => {
		command.addOption(new Option(flags, description).helpGroup("Workers:"));
	};
	add("--workers <n>", "start n workers as processes of this machine, with one log");
	add("--worker <i/n>", "be worker i of n, from 0 on (default: as the launcher says)");
	add("--no-takeover", "leave what dead workers left to the next run");
	add("--lease <seconds>", "a worker is dead after so long without a sign of life (default: 60)");
	add("--grace <seconds>", "for an orderly stop after SIGTERM (default: 20)");
	add("--local-output", "--out is on a disk of this machine: write what its ranks hold");
	add("--ranks <list>", "those ranks, e.g. 0-7,16 (default: worker i of n has the i-th n-th)");
	return command;
}
