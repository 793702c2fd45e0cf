import { splitImageDomain } from '../../core/index.ts';
import type { AuthConfig } from '../types.ts';
import { configFor, parseEndpoint, servingHost } from './hosts.ts';
import type { Registries, RegistryAuth } from './parse.ts';

/** The registry of an image reference, by Docker's rule: `docker.io` unless the first part looks like a host. */
export function registryOf(image: string): string {
  return splitImageDomain(image).domain;
}

/**
 * Credentials from registries.yaml to try for a pull, in the order containerd asks the hosts: each is bound to its host
 * by serverAddress, since containerd would otherwise send it to every mirror. CRI takes one set a pull, so a pull that
 * is refused with one is tried with the next, as the kubelet does with pull secrets. Empty: nothing is configured.
 */
export function authFor(registries: Registries, image: string): AuthConfig[] {
  const registry = registryOf(image);
  const mirror = registries.mirrors[registry] ?? registries.mirrors['*'];
  const out: AuthConfig[] = [];
  const add = (name: string, url: string) => {
    const auth = configFor(registries, name).auth ?? (name === registry ? registries.configs['*']?.auth : undefined);
    const serverAddress = url.replace(/^([a-z]+:\/\/[^/]+).*$/, '$1');
    if (auth && !out.some((other) => other.serverAddress === serverAddress)) out.push(toCri(auth, serverAddress));
  };
  for (const text of mirror?.endpoints ?? []) {
    const endpoint = parseEndpoint(text);
    if (endpoint) add(endpoint.registry, endpoint.url);
  }
  add(registry, parseEndpoint(registry)?.url ?? `https://${servingHost(registry)}`);
  return out;
}

function toCri(auth: RegistryAuth, serverAddress: string): AuthConfig {
  return { ...auth, serverAddress };
}
