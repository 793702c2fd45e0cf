import type { Kind } from './kinds.ts';

/** One setting of the kubelet. */
export interface Key<T> {
  readonly kind: Kind<T>;
  /** In a KubeletConfiguration: a dotted path, the property's own name when left out; null: only a flag. */
  readonly field?: string | null;
  /** Without dashes; left out: only in files. */
  readonly flag?: string;
  readonly fallback: T;
  /** In a file 0 and "" are values of their own here; for all other keys they mean the default, as in Go's structs. */
  readonly keepsZero?: true;
  /** Parsed, but nothing here acts on it so far: the sentence that follows "has no effect: ". */
  readonly notYet?: string;
  /** For the document: what is particular about it here. */
  readonly note?: string;
}

/** A setting that nothing here reads. */
export interface OtherKey {
  readonly flag?: string;
  readonly field?: string;
  readonly kind: Kind<unknown>;
  /**
   * `needless`: the agent does what it asks for anyway, or it tunes what is not there; said nothing about.
   * `ignored`: asks for something else than the agent does; goes on, with a warning.
   * `refused`: going on would be worse than stopping.
   */
  readonly state: 'needless' | 'ignored' | 'refused';
  readonly why: string;
  /** Values that ask for what is so anyway. */
  readonly harmless?: readonly unknown[];
  /** Last minor version of Kubernetes that had it. */
  readonly until?: number;
}

/** Keeps `T` of a setting exact in the table. */
export function key<T>(it: Key<T>): Key<T> {
  return it;
}

/** Its path in a KubeletConfiguration; undefined if it is only a flag. */
export function fieldOf(name: string, { field = name }: Pick<Key<unknown>, 'field'>): string | undefined {
  return field ?? undefined;
}

/** Flags of which all the same is to be said. */
export function alike(flags: readonly string[], rest: Omit<OtherKey, 'flag' | 'field'>): OtherKey[] {
  return flags.map((flag) => ({ flag, ...rest }));
}
