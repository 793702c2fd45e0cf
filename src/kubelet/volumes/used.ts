import type { Pod, Volume } from '../../kube/index.ts';
import { containersOf } from '../containers/spec.ts';

/**
 * The volumes that some container mounts. The others are never set up and nobody waits for them: a pod starts although
 * a ConfigMap it names but does not mount is missing (desired_state_of_world_populator.go).
 */
export function usedVolumes(pod: Pod): Volume[] {
  const used = new Set<string>();
  for (const { volumeMounts, volumeDevices } of containersOf(pod))
    for (const { name } of [...(volumeMounts ?? []), ...(volumeDevices ?? [])]) used.add(name);
  return (pod.spec.volumes ?? []).filter(({ name }) => used.has(name));
}

/**
 * Folders that a volume of files needs so that other volumes can be mounted inside it: containers get it read-only, so
 * the runtime could not make them. Relative to the volume; only the outermost ones (volume/util/nested_volumes.go).
 */
export function nestedMountPoints(volume: string, pod: Pod): string[] {
  const found = new Set<string>();
  for (const { volumeMounts = [] } of containersOf(pod)) {
    if (volumeMounts.length < 2) continue;
    const points = volumeMounts.map(({ name, mountPath }) => ({ name, parts: partsOf(mountPath) }));
    for (const mine of points) {
      if (mine.name !== volume) continue;
      const inner = points
        .map(({ parts }) => parts)
        .filter((parts) => parts.length > mine.parts.length && startsWith(parts, mine.parts))
        .sort((a, b) => a.length - b.length);
      const outermost: string[][] = [];
      for (const parts of inner) {
        if (parts.includes('..') || outermost.some((outer) => startsWith(parts, outer))) continue;
        outermost.push(parts);
        found.add(parts.slice(mine.parts.length).join('/'));
      }
    }
  }
  return [...found];
}

function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

function startsWith(parts: readonly string[], prefix: readonly string[]): boolean {
  return prefix.every((part, i) => parts[i] === part);
}
