import { hostname } from 'node:os';
import { probeHost } from '../cri/index.ts';
import {
  type Board,
  type Capacity,
  readBoard,
  readCapacity,
  readSystemFacts,
  type SystemFacts,
} from '../hardware/index.ts';
import { ensureDir } from '../host/index.ts';

export interface HostFacts {
  board: Board;
  system: SystemFacts;
  capacity: Capacity;
  hostname: string;
  cgroupVersion: 1 | 2;
}

/** What the board is; read once. `kubeletDir` decides which file system pods' storage is counted on. */
export async function hostFacts(kubeletDir: string): Promise<HostFacts> {
  await ensureDir(kubeletDir, 0o750);
  const [board, system, capacity, { cgroupVersion }] = await Promise.all([
    readBoard(),
    readSystemFacts(),
    readCapacity(kubeletDir),
    probeHost(),
  ]);
  return { board, system, capacity, hostname: hostname(), cgroupVersion };
}
