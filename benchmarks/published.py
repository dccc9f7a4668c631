"""Figures of arXiv 2501.00636 ("Applying Graph Explanation to Operator Fusion"), as published.

DRAM access of the fusable operators in MB. The equations of the paper's cost model are not published, so these
figures cannot be compared with ours one by one: what compares is one method with another inside one cost model.
"""

from __future__ import annotations

# {network: {search: {repair: MB}}}
DRAM_MB: dict[str, dict[str, dict[str, float]]] = {
    "efficientnet_b3@300": {
        "local-search": {"random": 90.500, "gnnexplainer": 78.007, "pgexplainer": 73.569, "rgexplainer": 78.433},
        "nsga2": {"random": 77.334, "gnnexplainer": 61.265, "pgexplainer": 61.792, "rgexplainer": 61.535},
        "random-search": {"random": 172.802, "gnnexplainer": 169.928, "pgexplainer": 164.086, "rgexplainer": 162.774},
    },
    "resnet152@224": {
        "local-search": {"random": 80.733, "gnnexplainer": 74.461, "pgexplainer": 76.421, "rgexplainer": 75.245},
        "nsga2": {"random": 77.205, "gnnexplainer": 68.581, "pgexplainer": 67.013, "rgexplainer": 66.621},
        "random-search": {"random": 113.661, "gnnexplainer": 96.021, "pgexplainer": 96.413, "rgexplainer": 94.453},
    },
    "deeplabv3_mobilenet_v3_large@513": {
        "local-search": {"random": 116.644, "gnnexplainer": 114.440, "pgexplainer": 114.180, "rgexplainer": 113.942},
        "nsga2": {"random": 114.351, "gnnexplainer": 113.602, "pgexplainer": 113.840, "rgexplainer": 113.602},
        "random-search": {"random": 148.153, "gnnexplainer": 143.925, "pgexplainer": 142.548, "rgexplainer": 147.022},
    },
    "mobilenetv2_100@224": {
        "local-search": {"random": 9.803, "gnnexplainer": 8.823, "pgexplainer": 9.068, "rgexplainer": 8.823},
        "random-search": {"random": 13.209, "gnnexplainer": 11.432, "pgexplainer": 13.049, "rgexplainer": 12.890},
    },
    "vgg16@224": {
        "local-search": {"random": 5.973, "gnnexplainer": 5.973, "pgexplainer": 5.973, "rgexplainer": 5.973},
        "random-search": {"random": 6.856, "gnnexplainer": 6.268, "pgexplainer": 6.562, "rgexplainer": 6.464},
    },
    "resnet50@224": {
        "local-search": {"random": 25.764, "gnnexplainer": 24.588, "pgexplainer": 24.588, "rgexplainer": 24.196},
        "random-search": {"random": 39.092, "gnnexplainer": 35.564, "pgexplainer": 32.820, "rgexplainer": 32.036},
    },
    "resnet18@224": {
        "local-search": {"random": 5.974, "gnnexplainer": 5.974, "pgexplainer": 5.974, "rgexplainer": 5.974},
        "random-search": {"random": 6.856, "gnnexplainer": 6.464, "pgexplainer": 6.562, "rgexplainer": 6.464},
    },
    "squeezenet1_1@224": {
        "local-search": {"random": 3.839, "gnnexplainer": 3.585, "pgexplainer": 3.585, "rgexplainer": 3.585},
        "random-search": {"random": 10.080, "gnnexplainer": 7.948, "pgexplainer": 7.751, "rgexplainer": 7.333},
    },
}

# The same for BRR (128 KB, 2,000 plans). What they count is not printed: those of VGG16 are below the weights of its
# convolutions at 16 bits, those of ResNet-18 are about what its whole network moves then.
BRR_DRAM_MB: dict[str, dict[str, dict[str, float]]] = {
    "mobilenetv2_100@224": {
        "local-search": {"random": 15.101, "gnnexplainer": 13.401, "pgexplainer": 14.609, "rgexplainer": 13.790},
        "random-search": {"random": 16.195, "gnnexplainer": 12.593, "pgexplainer": 13.307, "rgexplainer": 12.838},
    },
    "vgg16@224": {
        "local-search": {"random": 27.606, "gnnexplainer": 27.415, "pgexplainer": 26.975, "rgexplainer": 27.174},
        "random-search": {"random": 29.274, "gnnexplainer": 28.593, "pgexplainer": 28.124, "rgexplainer": 28.847},
    },
    "resnet50@224": {
        "local-search": {"random": 83.685, "gnnexplainer": 83.344, "pgexplainer": 83.493, "rgexplainer": 83.317},
        "random-search": {"random": 91.866, "gnnexplainer": 91.669, "pgexplainer": 91.763, "rgexplainer": 92.376},
    },
    "resnet18@224": {
        "local-search": {"random": 27.127, "gnnexplainer": 27.127, "pgexplainer": 26.975, "rgexplainer": 27.127},
        "random-search": {"random": 28.525, "gnnexplainer": 27.919, "pgexplainer": 27.599, "rgexplainer": 28.081},
    },
    "squeezenet1_1@224": {
        "local-search": {"random": 8.202, "gnnexplainer": 6.232, "pgexplainer": 6.790, "rgexplainer": 7.714},
        "random-search": {"random": 10.249, "gnnexplainer": 8.258, "pgexplainer": 7.817, "rgexplainer": 7.601},
    },
}

# MobileNetV2, 128 KB, 2,000 plans: {search: {repair: (rectify rate, seconds of the search)}}
RECTIFY: dict[str, dict[str, tuple[float, float]]] = {
    "local-search": {"gnnexplainer": (0.831, 168), "pgexplainer": (0.591, 72), "rgexplainer": (0.940, 99)},
    "random-search": {"gnnexplainer": (0.721, 106), "pgexplainer": (0.507, 32), "rgexplainer": (0.914, 42)},
}
