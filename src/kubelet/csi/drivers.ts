import { AgentError } from '../../core/index.ts';
import { createDriver, type Driver } from './driver.ts';

/** The drivers that have registered on this node. */
export interface Drivers {
  /** Throws `CSI_NO_DRIVER` with upstream's text. */
  get(name: string): Driver;
  add(name: string, endpoint: string): Driver;
  remove(name: string): void;
  names(): string[];
  close(): void;
}

export function createDrivers(): Drivers {
  const drivers = new Map<string, Driver>();
  return {
    get(name) {
      const driver = drivers.get(name);
      if (driver) return driver;
      throw new AgentError({
        code: 'CSI_NO_DRIVER',
        message: `driver name ${name} not found in the list of registered CSI drivers`,
        remedy: "look whether the driver's pod runs on this node",
      });
    },
    add(name, endpoint) {
      drivers.get(name)?.close();
      const driver = createDriver(name, endpoint);
      drivers.set(name, driver);
      return driver;
    },
    remove(name) {
      drivers.get(name)?.close();
      drivers.delete(name);
    },
    names: () => [...drivers.keys()],
    close() {
      for (const driver of drivers.values()) driver.close();
      drivers.clear();
    },
  };
}
