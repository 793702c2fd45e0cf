import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { boardLabels, labelValue, readBoard } from '../../../src/hardware/index.ts';

const reader = (files: Record<string, string>) => async (path: string) => files[path];

test('a Raspberry Pi is known by its device tree', async () => {
  const board = await readBoard(
    reader({
      '/proc/device-tree/model': 'Raspberry Pi 4 Model B Rev 1.4\0',
      '/proc/device-tree/serial-number': '10000000abcdef01\0',
      '/proc/device-tree/compatible': 'raspberrypi,4-model-b\0brcm,bcm2711\0',
    }),
  );
  assert.deepEqual(boardLabels(board), {
    'hardware.k3s-agent.io/board': 'raspberry-pi',
    'hardware.k3s-agent.io/model': 'Raspberry-Pi-4-Model-B-Rev-1.4',
    'hardware.k3s-agent.io/serial': '10000000abcdef01',
    'hardware.k3s-agent.io/soc': 'bcm2711',
  });
});

test('a Jetson is known by its device tree', async () => {
  const board = await readBoard(
    reader({
      '/proc/device-tree/model': 'NVIDIA Jetson Nano Developer Kit\0',
      '/proc/device-tree/serial-number': '1421219012345\0',
      '/proc/device-tree/compatible': 'nvidia,p3450-0000+p3448-0000\0nvidia,jetson-nano\0nvidia,tegra210\0',
    }),
  );
  assert.equal(board.kind, 'jetson');
  assert.equal(board.soc, 'tegra210');
});

test('a machine without a device tree gets no board labels', async () => {
  const board = await readBoard(
    reader({ '/sys/class/dmi/id/product_name': 'Standard PC', '/sys/class/dmi/id/sys_vendor': 'QEMU' }),
  );
  assert.equal(board.model, 'QEMU Standard PC');
  assert.deepEqual(boardLabels(board), {});
});

test('any firmware text becomes a valid label value', () => {
  fc.assert(
    fc.property(
      fc.string({ maxLength: 300 }),
      (text) => /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/.test(labelValue(text)) && labelValue(text).length <= 63,
    ),
  );
});
