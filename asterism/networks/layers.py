"""The layers that networks are built of; on CPUs, kernels written for them compute some (`networks/cpu/`)."""

from asterism.networks.batch_norm import BatchNorm2d as BatchNorm2d
from asterism.networks.batch_norm import moved as moved
from asterism.networks.cpu.convolution import Conv2d as Conv2d
from asterism.networks.cpu.normalization import InstanceNorm2d as InstanceNorm2d
from asterism.networks.cpu.normalization import instance_norm as instance_norm
from asterism.networks.cpu.resampling import DoublingConv2d as DoublingConv2d
