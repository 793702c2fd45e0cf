import { readBoard } from './board.ts';

/** What a person at the board wants to know of it. Sizes in bytes; what can't be read is left out. */
export interface Sensors {
  model?: string;
  serial?: string;
  /** Degrees Celsius, the hottest sensor of the processor. */
  temperature?: number;
  memory?: { total: number; available: number };
  /** The file system that `dataDir` lies on. */
  disk?: { type: string; total: number; available: number };
}

const TIMEOUT_MS = 3_000;

/**
 * Reads the sensors. Only for commands that a person started: systeminformation, loaded here and nowhere else, is big
 * and starts processes, which the agent itself must not do to a board at rest.
 */
export async function readSensors(dataDir: string): Promise<Sensors> {
  const { default: si } = await import('systeminformation');
  const [board, heat, memory, disks] = await Promise.all([
    readBoard(),
    soon(si.cpuTemperature()),
    soon(si.mem()),
    soon(si.fsSize()),
  ]);
  const disk = disks
    ?.filter(({ mount }) => dataDir === mount || dataDir.startsWith(mount.endsWith('/') ? mount : `${mount}/`))
    .sort((a, b) => b.mount.length - a.mount.length)[0];
  const temperature = heat?.max ?? heat?.main;
  return {
    ...(board.model ? { model: board.model } : {}),
    ...(board.serial ? { serial: board.serial } : {}),
    ...(typeof temperature === 'number' && temperature > 0 ? { temperature } : {}),
    ...(memory ? { memory: { total: memory.total, available: memory.available } } : {}),
    ...(disk ? { disk: { type: disk.type, total: disk.size, available: disk.available } } : {}),
  };
}

/** A sensor that hangs (a dead SD card, a mount of a server that is away) must not keep the rest from being shown. */
function soon<T>(reading: Promise<T>): Promise<T | undefined> {
  const late = new Promise<undefined>((resolve) => setTimeout(resolve, TIMEOUT_MS, undefined).unref());
  return Promise.race([reading, late]).catch(() => undefined);
}
