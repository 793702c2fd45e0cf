import { clone, isDict, sameJson } from '../objects.ts';
import { StatusError } from '../status.ts';

interface Operation {
  op: string;
  path: string;
  from?: string;
  value?: unknown;
}

/** RFC 6902. A failing operation is 422, as from the API server. */
export function applyJsonPatch(target: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch)) throw rejected('a JSON patch is a list of operations');
  const root = { '': clone(target) };
  for (const operation of patch as Operation[]) apply(root, operation);
  return root[''];
}

function apply(root: Record<string, unknown>, operation: Operation): void {
  const path = parse(operation.path);
  switch (operation.op) {
    case 'add':
      add(root, path, clone(operation.value));
      return;
    case 'remove':
      remove(root, path);
      return;
    case 'replace':
      remove(root, path);
      add(root, path, clone(operation.value));
      return;
    case 'test':
      if (!sameJson(read(root, path), operation.value)) throw rejected(`testing value ${operation.path} failed`);
      return;
    case 'copy':
      add(root, path, clone(read(root, parse(operation.from ?? ''))));
      return;
    case 'move':
      add(root, path, remove(root, parse(operation.from ?? '')));
      return;
    default:
      throw rejected(`unexpected kind: ${operation.op}`);
  }
}

function parse(pointer: unknown): string[] {
  if (typeof pointer !== 'string' || (pointer !== '' && !pointer.startsWith('/')))
    throw rejected(`invalid path ${JSON.stringify(pointer)}`);
  return pointer.split('/').map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function read(root: unknown, path: readonly string[]): unknown {
  let at = root;
  for (const part of path) {
    if (Array.isArray(at)) at = at[Number(part)];
    else if (isDict(at) && Object.hasOwn(at, part)) at = at[part];
    else throw rejected(`${path.join('/')}: no such path`);
  }
  return at;
}

function add(root: unknown, path: readonly string[], value: unknown): void {
  const parent = read(root, path.slice(0, -1));
  const last = path[path.length - 1] as string;
  if (Array.isArray(parent)) {
    const index = last === '-' ? parent.length : Number(last);
    if (!Number.isInteger(index) || index < 0 || index > parent.length) throw rejected(`${last}: no such index`);
    parent.splice(index, 0, value);
  } else if (isDict(parent)) parent[last] = value;
  else throw rejected(`add operation does not apply: doc is missing path: ${path.join('/')}`);
}

function remove(root: unknown, path: readonly string[]): unknown {
  const parent = read(root, path.slice(0, -1));
  const last = path[path.length - 1] as string;
  const value = read(parent, [last]);
  if (Array.isArray(parent)) parent.splice(Number(last), 1);
  else delete (parent as Record<string, unknown>)[last];
  return value;
}

function rejected(why: string): StatusError {
  return new StatusError({
    code: 422,
    reason: 'Invalid',
    message: `the server rejected our request due to an error in our request: ${why}`,
    details: {},
  });
}
