import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { pathToFileURL } from "node:url";
import { findTool } from "./tools.ts";

/** A Chromium without windows, or why there is none. */
export type ChromiumSearch = { readonly chromium: string } | { readonly skip: string };

/** Under these names distributions install it; the first is the smallest. */
const NAMES = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"] as const;

/**
 * Looks for a Chromium.
 *
 * @throws {Error} in CI (`CI` set) instead of returning a reason to skip: there a missing browser is a failure.
 */
export function findChromium(): ChromiumSearch {
	const chromium =
		process.env["CHROMIUM"] ?? NAMES.map(findTool).find((path) => path !== undefined);
	if (chromium !== undefined) return { chromium };
	const skip = "needs Chromium (Debian: apt install chromium-headless-shell)";
	if (process.env["CI"] !== undefined) throw new Error(skip);
	return { skip };
}

/** A running browser. */
export interface Browser extends AsyncDisposable {
	/** A page of its own, as wide and high as a laptop's. */
	newPage(): Promise<Page>;
}

/** A page that is driven as a person would: by keys and the mouse. */
export interface Page {
	/** Opens a file and waits until it says that it is ready. */
	open(path: string): Promise<void>;
	/** The value of an expression, which may be a promise. */
	evaluate<T>(expression: string): Promise<T>;
	/** Waits until an expression is true. */
	until(expression: string): Promise<void>;
	/** The text of the first element that a selector finds. */
	text(selector: string): Promise<string>;
	/** Presses the middle of the first element that a selector finds, after scrolling to it; or another place of it, as fractions. */
	click(selector: string, x?: number, y?: number): Promise<void>;
	/** Moves the mouse there. */
	hover(selector: string, x?: number, y?: number): Promise<void>;
	/** Presses keys, one after the other: `ArrowDown`, `Tab`, `a`. */
	press(...keys: readonly string[]): Promise<void>;
	type(text: string): Promise<void>;
	resize(width: number, height: number): Promise<void>;
	theme(scheme: "light" | "dark"): Promise<void>;
	/** Writes a PNG; makes its folder. */
	screenshot(path: string, options?: { readonly isWhole?: boolean }): Promise<void>;
	/** Errors and warnings on the console, exceptions, violations of the policy. */
	readonly complaints: readonly string[];
	/** Addresses that were asked for; the page itself is the first. */
	readonly requests: readonly string[];
	close(): Promise<void>;
}

interface Message {
	readonly id?: number;
	readonly method?: string;
	readonly sessionId?: string;
	readonly params?: { readonly [key: string]: unknown };
	readonly result?: { readonly [key: string]: unknown };
	readonly error?: { readonly message: string };
}

type Send = (
	method: string,
	params?: object,
	sessionId?: string,
) => Promise<{ readonly [key: string]: unknown }>;

/** A key's code and the character it writes. */
const KEY_CODES: { readonly [key: string]: number } = {
	Tab: 9,
	Enter: 13,
	Escape: 27,
	" ": 32,
	PageUp: 33,
	PageDown: 34,
	End: 35,
	Home: 36,
	ArrowLeft: 37,
	ArrowUp: 38,
	ArrowRight: 39,
	ArrowDown: 40,
};

/** Starts a browser, and talks with it over a pipe: no port, no other program. */
export async function launchChromium(chromium: string): Promise<Browser> {
	const profile = await mkdtemp(join(tmpdir(), "hf-stream-dcp-chromium-"));
	const flags = [
		"--headless",
		"--remote-debugging-pipe",
		`--user-data-dir=${profile}`,
		"--no-first-run",
		"--disable-gpu",
		"--disable-extensions",
		"--disable-background-networking",
		"--hide-scrollbars",
		"--force-color-profile=srgb",
		// Chromium's sandbox does not work for root.
		...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
		"about:blank",
	];
	const child = spawn(chromium, flags, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
	const listeners = new Set<(message: Message) => void>();
	const send = connect(child, (message) => listeners.forEach((listener) => listener(message)));
	return {
		async newPage() {
			const { targetId } = await send("Target.createTarget", { url: "about:blank" });
			const attached = await send("Target.attachToTarget", { targetId, flatten: true });
			const session = String(attached["sessionId"]);
			const events = createEvents(session);
			listeners.add(events.listen);
			const page = createPage(events, (method, params) => send(method, params, session));
			for (const domain of ["Page", "Runtime", "Log", "Network"]) {
				await send(`${domain}.enable`, {}, session);
			}
			await page.resize(1280, 900);
			return {
				...page,
				async close() {
					listeners.delete(events.listen);
					await send("Target.closeTarget", { targetId });
				},
			};
		},
		async [Symbol.asyncDispose]() {
			const ended = new Promise((resolve) => child.once("exit", resolve));
			await send("Browser.close").catch(() => child.kill("SIGKILL"));
			await ended;
			await rm(profile, { recursive: true, force: true, maxRetries: 5 });
		},
	};
}

/** The DevTools protocol over file descriptors 3 and 4: JSON, each message ended by a zero byte. */
function connect(child: ChildProcess, onEvent: (message: Message) => void): Send {
	const output = child.stdio[3] as Writable;
	const input = child.stdio[4] as Readable;
	const waiting = new Map<number, (message: Message) => void>();
	let count = 0;
	let text = "";
	const fail = (why: string): void => {
		for (const resolve of waiting.values()) resolve({ error: { message: why } });
		waiting.clear();
	};
	child.once("exit", () => fail("the browser has ended"));
	child.once("error", (error) => fail(error.message));
	output.on("error", (error) => fail(error.message));
	input.setEncoding("utf8").on("data", (chunk: string) => {
		const messages = (text + chunk).split("\0");
		text = messages.pop() ?? "";
		for (const one of messages) {
			const message = JSON.parse(one) as Message;
			const resolve = message.id === undefined ? undefined : waiting.get(message.id);
			if (resolve === undefined) onEvent(message);
			else {
				waiting.delete(message.id ?? 0);
				resolve(message);
			}
		}
	});
	return async (method, params = {}, sessionId) => {
		const id = ++count;
		const answer = new Promise<Message>((resolve) => waiting.set(id, resolve));
		output.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
		const { result, error } = await answer;
		if (error !== undefined) throw new Error(`${method}: ${error.message}`);
		return result ?? {};
	};
}

interface Events {
	readonly listen: (message: Message) => void;
	readonly complaints: string[];
	readonly requests: string[];
}

function createEvents(session: string): Events {
	const complaints: string[] = [];
	const requests: string[] = [];
	const listen = ({ method, sessionId, params = {} }: Message): void => {
		if (sessionId !== session) return;
		if (method === "Network.requestWillBeSent") {
			requests.push((params["request"] as { readonly url: string }).url);
		}
		const isConsole = method === "Runtime.consoleAPICalled" && params["type"] !== "log";
		if (isConsole || method === "Runtime.exceptionThrown" || method === "Log.entryAdded") {
			complaints.push(JSON.stringify(params));
		}
	};
	return { listen, complaints, requests };
}

function createPage(
	{ complaints, requests }: Events,
	send: (method: string, params?: object) => ReturnType<Send>,
): Omit<Page, "close"> {
	const evaluate = async <T>(expression: string): Promise<T> => {
		const { result, exceptionDetails } = await send("Runtime.evaluate", {
			expression,
			awaitPromise: true,
			returnByValue: true,
		});
		if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
		return (result as { readonly value: T }).value;
	};
	/** A promise that the page itself resolves: at its next frames, without asking again and again. */
	const until = (expression: string): Promise<void> =>
		evaluate(`new Promise((resolve) => {
			const look = () => ((${expression}) ? resolve() : setTimeout(look, 10));
			look();
		})`);
	const placeOf = async (selector: string, x: number, y: number): Promise<[number, number]> =>
		evaluate(`(() => {
			const element = document.querySelector(${JSON.stringify(selector)});
			element.scrollIntoView({ block: "center", behavior: "instant" });
			const { left, top, width, height } = element.getBoundingClientRect();
			return [left + width * ${x}, top + height * ${y}];
		})()`);
	const mouse = (type: string, [x, y]: readonly [number, number], more = {}): Promise<unknown> =>
		send("Input.dispatchMouseEvent", { type, x, y, ...more });
	const press = async (key: string): Promise<void> => {
		const isText = key.length === 1;
		const code = KEY_CODES[key] ?? key.toUpperCase().charCodeAt(0);
		const event = { key, windowsVirtualKeyCode: code, ...(isText ? { text: key } : {}) };
		await send("Input.dispatchKeyEvent", { type: isText ? "keyDown" : "rawKeyDown", ...event });
		await send("Input.dispatchKeyEvent", { type: "keyUp", ...event });
	};
	return {
		complaints,
		requests,
		evaluate,
		until,
		async open(path) {
			await send("Page.navigate", { url: pathToFileURL(path).href });
			await until(`document.documentElement?.dataset.state !== undefined`);
			const state = await evaluate<string>(`document.documentElement.dataset.state`);
			if (state !== "ready") throw new Error(complaints.join("\n"));
		},
		text: (selector) => evaluate(`document.querySelector(${JSON.stringify(selector)}).textContent`),
		async click(selector, x = 0.5, y = 0.5) {
			const place = await placeOf(selector, x, y);
			await mouse("mouseMoved", place);
			await mouse("mousePressed", place, { button: "left", clickCount: 1 });
			await mouse("mouseReleased", place, { button: "left", clickCount: 1 });
		},
		async hover(selector, x = 0.5, y = 0.5) {
			await mouse("mouseMoved", await placeOf(selector, x, y));
		},
		async press(...keys) {
			for (const key of keys) await press(key);
		},
		async type(text) {
			await send("Input.insertText", { text });
		},
		async resize(width, height) {
			const metrics = { width, height, deviceScaleFactor: 1, mobile: false };
			await send("Emulation.setDeviceMetricsOverride", metrics);
		},
		async theme(value) {
			const features = [
				{ name: "prefers-color-scheme", value },
				{ name: "prefers-reduced-motion", value: "reduce" },
			];
			await send("Emulation.setEmulatedMedia", { features });
		},
		async screenshot(path, { isWhole = false } = {}) {
			const { data } = await send("Page.captureScreenshot", { captureBeyondViewport: isWhole });
			await mkdir(dirname(path), { recursive: true });
			await writeFile(path, Buffer.from(String(data), "base64"));
		},
	};
}
