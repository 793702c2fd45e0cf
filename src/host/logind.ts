import { writeIfChanged } from './files.ts';

export interface Logind {
  /** How long a shutdown waits for those who delay it, milliseconds. */
  inhibitDelayMs(): Promise<number>;
  /** Sets that by a configuration file and has logind read it; it does so a little later. */
  requestInhibitDelay(ms: number): Promise<void>;
  /** Calls `handler` with true when the system begins to go down and with false when that is called off. */
  onShutdown(handler: (begins: boolean) => void): Promise<void>;
  /** Resolves with the reason when nothing more will be told. */
  readonly closed: Promise<string>;
  close(): void;
}

const LOGIND = {
  destination: 'org.freedesktop.login1',
  path: '/org/freedesktop/login1',
} as const;
const MANAGER = 'org.freedesktop.login1.Manager';
const SYSTEM_BUS = '/run/dbus/system_bus_socket';
/** The original's file (kubelet nodeshutdown/systemd/inhibit_linux.go). */
const OVERRIDE = '/etc/systemd/logind.conf.d/99-kubelet.conf';

/** logind by the system's message bus. Throws `DBUS_CONNECT` where there is none. */
export async function connectLogind(bus = SYSTEM_BUS, override = OVERRIDE): Promise<Logind> {
  const { connectDBus } = await import('./dbus/connection.ts');
  const connection = await connectDBus(bus);
  return {
    async inhibitDelayMs() {
      const [answer] = await connection.call({
        ...LOGIND,
        interface: 'org.freedesktop.DBus.Properties',
        member: 'Get',
        signature: 'ss',
        body: [MANAGER, 'InhibitDelayMaxUSec'],
      });
      const value = typeof answer === 'object' && 'value' in answer ? answer.value : undefined;
      return typeof value === 'bigint' || typeof value === 'number' ? Number(value) / 1_000 : 0;
    },
    async requestInhibitDelay(ms) {
      const text = `# The time that pods get to end\n[Login]\nInhibitDelayMaxSec=${Math.ceil(ms / 1_000)}\n`;
      await writeIfChanged(override, text);
      await connection.call({
        destination: 'org.freedesktop.systemd1',
        path: '/org/freedesktop/systemd1',
        interface: 'org.freedesktop.systemd1.Manager',
        member: 'KillUnit',
        signature: 'ssi',
        body: ['systemd-logind.service', 'all', 1],
      });
    },
    onShutdown: (handler) =>
      connection.subscribe(
        { sender: LOGIND.destination, path: LOGIND.path, interface: MANAGER, member: 'PrepareForShutdown' },
        ([begins]) => {
          if (typeof begins === 'boolean') handler(begins);
        },
      ),
    closed: connection.closed,
    close: () => connection.close(),
  };
}
