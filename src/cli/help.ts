import { listFamilies, listTargets } from "../index.ts";

const EXIT_CODE_HELP = `Exit codes:
  0 done · 1 bug in this program · 2 usage · 3 source or network · 4 plan (names, layout, memory) · 5 output
  6 checkpoint damaged · 7 no GPU for --device webgpu
  130 stopped by Ctrl-C · 143 stopped by SIGTERM (the same command continues)`;

function indent(lines: readonly string[]): string {
	return lines.map((line) => `  ${line}`).join("\n");
}

/** Examples, as the last part of a command's help. */
export function examplesHelp(examples: readonly string[]): string {
	return `\nExamples:\n${indent(examples)}\n`;
}

/** Targets, families and exit codes, which `--help` ends with. */
export function referenceHelp(): string {
	return `\nTargets (--target):\n${indent(listTargets())}\n\nFamilies (--family):\n${indent(listFamilies())}\n\n${EXIT_CODE_HELP}\n`;
}

/** Exit codes alone. */
export function exitCodeHelp(): string {
	return `\n${EXIT_CODE_HELP}\n`;
}
