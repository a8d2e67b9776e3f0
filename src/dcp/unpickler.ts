import { corrupt, quote } from "./corrupt.ts";
import { PickleInput } from "./pickle-input.ts";
import { OP } from "./pickle-opcodes.ts";
import {
	asDict,
	asString,
	globalName,
	kindOf,
	type PickleObject,
	type PickleSequence,
	type PickleValue,
} from "./pickle-values.ts";

/** What a pickle may contain. */
export interface UnpickleOptions {
	/** Name of the file, for messages. */
	readonly what: string;
	/** Dotted names of the globals it may mention. */
	readonly globals: ReadonlySet<string>;
	/** Containers and objects it may create; one takes about 100 bytes of memory. */
	readonly maxObjects: number;
	/** Operations it may have; each takes up to about 50 bytes of memory. */
	readonly maxOperations: number;
}

const NOTHING: readonly PickleValue[] = [];

/**
 * Reads a pickle of protocol 2 to 5 as data. No class is imported, nothing is called: a global is a name that must be on the list,
 * and a call is a record of what would be called. There is no recursion; time is linear in the pickle's length, and memory is
 * bounded by the two limits.
 *
 * @throws {HfStreamDcpError} `CHECKPOINT_CORRUPT` for anything else.
 */
export function unpickle(bytes: Uint8Array, options: UnpickleOptions): PickleValue {
	const machine = new Machine(bytes, options);
	const { input } = machine;
	if (input.u8() !== OP.proto) throw machine.fail("is no pickle of protocol 2 or later");
	const protocol = input.u8();
	if (protocol < 2 || protocol > 5) throw machine.fail(`has protocol ${protocol}`);
	for (let operations = 0; operations < options.maxOperations; operations++) {
		const opcode = input.u8();
		if (opcode === OP.stop) return machine.pop();
		const handler = HANDLERS.get(opcode);
		if (handler === undefined) {
			throw machine.fail(`has opcode 0x${opcode.toString(16)}, which no checkpoint uses`);
		}
		handler(machine, input);
	}
	throw machine.fail(`has more than ${options.maxOperations} operations`);
}

class Machine {
	readonly input: PickleInput;
	readonly memo = new Map<number, PickleValue>();
	readonly #options: UnpickleOptions;
	readonly #stack: PickleValue[] = [];
	/** Heights of the stack at the marks. */
	readonly #marks: number[] = [];
	#objects = 0;

	constructor(bytes: Uint8Array, options: UnpickleOptions) {
		this.#options = options;
		this.input = new PickleInput(bytes, (message) => this.fail(message));
	}

	fail(message: string): Error {
		return corrupt(`${this.#options.what} ${message}`);
	}

	push(value: PickleValue): void {
		this.#stack.push(value);
	}

	/** Pushes a new container, counted. */
	create(value: PickleSequence | PickleObject | PickleValue): void {
		if (++this.#objects > this.#options.maxObjects) {
			throw this.fail(`has more than ${this.#options.maxObjects} objects`);
		}
		this.#stack.push(value);
	}

	pop(): PickleValue {
		this.#checkHeight(1);
		return this.#stack.pop() ?? null;
	}

	/** The value on top, which stays there. */
	top(): PickleValue {
		this.#checkHeight(1);
		return this.#stack.at(-1) ?? null;
	}

	popMany(count: number): PickleValue[] {
		this.#checkHeight(count);
		return this.#stack.splice(this.#stack.length - count, count);
	}

	mark(): void {
		this.#marks.push(this.#stack.length);
	}

	popMark(): PickleValue[] {
		const height = this.#marks.pop();
		if (height === undefined) throw this.fail("has no mark where one is needed");
		return this.#stack.splice(height);
	}

	remember(index: number): void {
		this.memo.set(index, this.top());
	}

	recall(index: number): void {
		const value = this.memo.get(index);
		if (value === undefined) throw this.fail(`recalls value ${index}, which it never stored`);
		this.push(value);
	}

	pushGlobal(module: string, name: string): void {
		const dotted = `${module}.${name}`;
		if (!this.#options.globals.has(dotted)) {
			throw this.fail(`names ${quote(dotted)}, which does not belong into a checkpoint`);
		}
		this.create({ kind: "global", name: dotted });
	}

	/** `callable` and its argument tuple are on the stack. */
	makeObject(): void {
		const args = this.pop();
		const callable = globalName(this.pop());
		if (callable === undefined) throw this.fail("calls something that is no global");
		if (!isSequence(args, "tuple")) throw this.fail(`calls ${callable} without a tuple`);
		if (callable === "collections.OrderedDict" && args.items.length === 0) {
			this.create({ kind: "dict", keys: [], values: [] });
		} else {
			this.create({ kind: "object", callable, args: args.items, state: undefined });
		}
	}

	build(): void {
		const state = this.pop();
		const target = this.top();
		if (!isObject(target)) throw this.fail(`sets the state of a ${kindOf(target)}`);
		if (target.state !== undefined) throw this.fail(`sets the state of ${target.callable} twice`);
		target.state = state;
	}

	addItems(kind: "list" | "set", items: readonly PickleValue[]): void {
		const target = this.top();
		if (!isSequence(target, kind)) throw this.fail(`adds items to a ${kindOf(target)}`);
		for (const item of items) target.items.push(item);
	}

	setItems(pairs: readonly PickleValue[]): void {
		const { keys, values } = asDict(this.top(), `${this.#options.what}: the target of an item`);
		if (pairs.length % 2 !== 0) throw this.fail("has a dict key without a value");
		for (const [index, part] of pairs.entries()) (index % 2 === 0 ? keys : values).push(part);
	}

	#checkHeight(count: number): void {
		if (this.#stack.length - (this.#marks.at(-1) ?? 0) < count) {
			throw this.fail("takes more values than it has");
		}
	}
}

function isSequence(value: PickleValue, kind: PickleSequence["kind"]): value is PickleSequence {
	return kindOf(value) === kind;
}

function isObject(value: PickleValue): value is PickleObject {
	return kindOf(value) === "object";
}

function tuple(items: readonly PickleValue[]): PickleSequence {
	return { kind: "tuple", items: items as PickleValue[] };
}

type Handler = (machine: Machine, input: PickleInput) => void;

const HANDLERS: ReadonlyMap<number, Handler> = new Map<number, Handler>([
	// Frames only tell a reader how much to buffer.
	[OP.frame, (_, input) => void input.u64()],
	[OP.none, (machine) => machine.push(null)],
	[OP.newtrue, (machine) => machine.push(true)],
	[OP.newfalse, (machine) => machine.push(false)],
	[OP.binint, (machine, input) => machine.push(input.i32())],
	[OP.binint1, (machine, input) => machine.push(input.u8())],
	[OP.binint2, (machine, input) => machine.push(input.u16())],
	[OP.long1, (machine, input) => machine.push(input.long(input.u8()))],
	[OP.binfloat, (machine, input) => machine.push(input.f64())],
	[OP.shortBinunicode, (machine, input) => machine.push(input.utf8(input.u8()))],
	[OP.binunicode, (machine, input) => machine.push(input.utf8(input.u32()))],
	[OP.binunicode8, (machine, input) => machine.push(input.utf8(input.u64()))],
	[OP.shortBinbytes, (machine, input) => machine.push(input.bytes(input.u8()))],
	[OP.binbytes, (machine, input) => machine.push(input.bytes(input.u32()))],
	[OP.emptyTuple, (machine) => machine.push(tuple(NOTHING))],
	[OP.tuple1, (machine) => machine.create(tuple(machine.popMany(1)))],
	[OP.tuple2, (machine) => machine.create(tuple(machine.popMany(2)))],
	[OP.tuple3, (machine) => machine.create(tuple(machine.popMany(3)))],
	[OP.tuple, (machine) => machine.create(tuple(machine.popMark()))],
	[OP.emptyList, (machine) => machine.create({ kind: "list", items: [] })],
	[OP.list, (machine) => machine.create({ kind: "list", items: machine.popMark() })],
	[OP.emptyDict, (machine) => machine.create({ kind: "dict", keys: [], values: [] })],
	[OP.emptySet, (machine) => machine.create({ kind: "set", items: [] })],
	[OP.frozenset, (machine) => machine.create({ kind: "set", items: machine.popMark() })],
	[OP.append, (machine) => machine.addItems("list", [machine.pop()])],
	[OP.appends, (machine) => machine.addItems("list", machine.popMark())],
	[OP.additems, (machine) => machine.addItems("set", machine.popMark())],
	[OP.setitem, (machine) => machine.setItems(machine.popMany(2))],
	[OP.setitems, (machine) => machine.setItems(machine.popMark())],
	[OP.mark, (machine) => machine.mark()],
	[OP.pop, (machine) => void machine.pop()],
	[OP.popMark, (machine) => void machine.popMark()],
	[OP.binput, (machine, input) => machine.remember(input.u8())],
	[OP.longBinput, (machine, input) => machine.remember(input.u32())],
	[OP.memoize, (machine) => machine.remember(machine.memo.size)],
	[OP.binget, (machine, input) => machine.recall(input.u8())],
	[OP.longBinget, (machine, input) => machine.recall(input.u32())],
	[OP.global, (machine, input) => machine.pushGlobal(input.line(), input.line())],
	[
		OP.stackGlobal,
		(machine) => {
			const name = asString(machine.pop(), "the name of a global");
			machine.pushGlobal(asString(machine.pop(), "the module of a global"), name);
		},
	],
	[OP.newobj, (machine) => machine.makeObject()],
	[OP.reduce, (machine) => machine.makeObject()],
	[OP.build, (machine) => machine.build()],
	[OP.binpersid, (machine) => machine.create({ kind: "persistent", id: machine.pop() })],
]);
