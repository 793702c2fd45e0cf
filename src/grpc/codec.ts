export { decode } from './decode.ts';
export { encode } from './encode.ts';
export { defineSchema, type Schema, WireError } from './schema.ts';
