import type * as v from "valibot";

/*
 * What compares a schema that is written by hand with the types it stands for, when it is compiled: a key, a kind or a value that one of
 * them has and the other lacks.
 */

/** A schema for every key of `T`, those that may be left out included. */
export type Entries<T> = { readonly [K in keyof Required<T>]: v.GenericSchema<T[K]> };

/** Whether two types have the same values. */
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;

/** The values that a table of entries lets through. */
type Values<E> = {
	readonly [K in keyof E]: E[K] extends v.GenericSchema<infer _, infer Output> ? Output : never;
};

/** Keys of `T` for which the schema accepts other values than the type has. */
export type Different<E, T> = {
	[K in keyof Required<T>]: K extends keyof Values<E>
		? Same<Exclude<Values<E>[K], undefined>, Exclude<T[K], undefined>> extends true
			? never
			: K
		: K;
}[keyof T];

/** The same for every kind of a union; of a kind that has no table, its name. */
export type Kinds<Tables, Union extends { readonly kind: string }> = {
	[K in Union["kind"]]: K extends keyof Tables
		? Different<Tables[K], Extract<Union, { kind: K }>>
		: K;
}[Union["kind"]];
