import { parseImageReference } from '../../core/index.ts';

/** An image's name in full: `docker.io/library/busybox:1.36`, as containerd stores it. */
export interface Reference {
  readonly registry: string;
  /** The repository's path in the registry: `library/busybox`. */
  readonly path: string;
  readonly tag: string | undefined;
  readonly digest: string | undefined;
}

/** Undefined if the text is no image reference. Without tag and digest the tag is `latest`. */
export function parseReference(text: string): Reference | undefined {
  const parsed = parseImageReference(text.trim());
  if (!parsed.ok) return undefined;
  const { domain, path, tag, digest } = parsed.reference;
  return { registry: domain, path, digest, tag: tag ?? (digest === undefined ? 'latest' : undefined) };
}

function formatReference({ registry, path, tag, digest }: Reference): string {
  return `${registry}/${path}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}

/** The name in full, or the text itself if it is none. */
export function normalizeImage(text: string): string {
  const reference = parseReference(text);
  return reference === undefined ? text : formatReference(reference);
}

/**
 * Further names an imported image gets (k3s pkg/agent/containerd/containerd.go): by digest, and as if it came from each
 * of the extra registries (which may have a path), unless it is theirs already.
 */
export function extraNames(name: string, digest: string, registries: readonly string[]): string[] {
  const reference = parseReference(name);
  if (!reference || reference.tag === undefined) return [];
  const own = `${reference.registry}/${reference.path}`;
  const bases = [...new Set(registries.map((r) => r.replace(/\/+$/, '')))].filter((r) => !own.startsWith(`${r}/`));
  return [
    `${own}@${digest}`,
    ...bases.flatMap((base) => [`${base}/${reference.path}:${reference.tag}`, `${base}/${reference.path}@${digest}`]),
  ];
}
