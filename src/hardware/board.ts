import { readText } from '../host/index.ts';

/** What the board says of itself. Absent facts are left out; a PC has none but the vendor and product of its DMI. */
export interface Board {
  kind: 'raspberry-pi' | 'jetson' | 'other';
  /** As the firmware writes it: `Raspberry Pi 4 Model B Rev 1.4`, `NVIDIA Jetson Nano Developer Kit`. */
  model?: string;
  serial?: string;
  /** `bcm2711`, `tegra210`: the last entry of the device tree's `compatible`, without its vendor. */
  soc?: string;
}

/** Reads a file of the device tree or of sysfs; `undefined` where there is none. */
export type ReadFact = (path: string) => Promise<string | undefined>;

/** Device tree strings end in NUL and lists are separated by it. */
export async function readBoard(read: ReadFact = readFact): Promise<Board> {
  const [model, serial, compatible, product, vendor] = await Promise.all([
    read('/proc/device-tree/model'),
    read('/proc/device-tree/serial-number'),
    read('/proc/device-tree/compatible'),
    read('/sys/class/dmi/id/product_name'),
    read('/sys/class/dmi/id/sys_vendor'),
  ]);
  const ids = (compatible ?? '').split('\0').filter((id) => id !== '');
  const soc = ids.at(-1)?.split(',').at(-1);
  const name = clean(model) ?? clean([vendor, product].filter((part) => part !== undefined).join(' '));
  return {
    kind: ids.some((id) => id.startsWith('raspberrypi,'))
      ? 'raspberry-pi'
      : ids.some((id) => id.startsWith('nvidia,tegra'))
        ? 'jetson'
        : 'other',
    ...(name ? { model: name } : {}),
    ...(clean(serial) ? { serial: clean(serial) as string } : {}),
    ...(soc ? { soc } : {}),
  };
}

async function readFact(path: string): Promise<string | undefined> {
  return readText(path).catch(() => undefined);
}

function clean(text: string | undefined): string | undefined {
  const trimmed = text?.replaceAll('\0', ' ').trim();
  return trimmed === undefined || trimmed === '' || trimmed.length > 256 ? undefined : trimmed;
}

const PREFIX = 'hardware.k3s-agent.io/';

/**
 * Node labels of a board: `hardware.k3s-agent.io/{board,model,serial,soc}`. The prefix lies outside of kubernetes.io,
 * where the server's NodeRestriction lets a node set only a fixed list.
 */
export function boardLabels(board: Board): Record<string, string> {
  if (board.kind === 'other') return {};
  const facts = { board: board.kind, model: board.model, serial: board.serial, soc: board.soc };
  const labels: Record<string, string> = {};
  for (const [key, value] of Object.entries(facts)) {
    const text = labelValue(value ?? '');
    if (text !== '') labels[PREFIX + key] = text;
  }
  return labels;
}

/** A text as a valid label value: at most 63 of `[A-Za-z0-9._-]`, an alphanumeric at both ends. */
export function labelValue(text: string): string {
  return text
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .slice(0, 63)
    .replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, '');
}
