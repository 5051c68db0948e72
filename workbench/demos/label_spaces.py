"""Class lists of well-known public datasets, names only: what merging by name would start from.

Names are spelled as published, capitals and punctuation included, because a merge by name meets them so: Mapillary's
"Road" is not Cityscapes' "road" to a program. Classes that a benchmark does not evaluate are left out, as are
"unlabeled" and "void".

    cityscapes  the 19 evaluation classes
    bdd100k     semantic segmentation, 19 classes, the same names as Cityscapes
    camvid      the usual 11-class subset, under the names of the original 32 classes
    idd         Indian Driving Dataset, level 3 of its hierarchy, 26 classes; where a level-3 class joins several finer
                ones, the name of the one that its evaluation prints ("person" holds animals, "bridge" holds tunnels)
    wilddash2   semantic segmentation, the 25 evaluated classes
    mapillary   Mapillary Vistas 1.2, the 65 evaluated classes
    coco        the 80 things of COCO detection; its stuff classes are left out
    ade20k      the 150 classes of its scene parsing benchmark, each by the first of its published synonyms

Left out because the names or their number differ between published versions: Mapillary Vistas 2.0, IDD level 4, the 32
raw CamVid classes, the full ADE20K vocabulary, COCO-Stuff and COCO panoptic.
"""

from __future__ import annotations

from collections.abc import Mapping

from workbench.core import ConfigError, Dataset


def _names(text: str) -> tuple[str, ...]:
    return tuple(" ".join(name.split()) for name in text.split(","))


_CITYSCAPES = _names(
    """road, sidewalk, building, wall, fence, pole, traffic light, traffic sign, vegetation, terrain, sky, person,
    rider, car, truck, bus, train, motorcycle, bicycle"""
)

#: Dataset -> its classes, in the order of their published indices.
LABEL_SPACES: Mapping[str, tuple[str, ...]] = {
    "cityscapes": _CITYSCAPES,
    "bdd100k": _CITYSCAPES,
    "camvid": _names("Sky, Building, Column_Pole, Road, Sidewalk, Tree, SignSymbol, Fence, Car, Pedestrian, Bicyclist"),
    "idd": _names(
        """road, drivable fallback, sidewalk, non-drivable fallback, person, rider, motorcycle, bicycle, autorickshaw,
        car, truck, bus, vehicle fallback, curb, wall, fence, guard rail, billboard, traffic sign, traffic light, pole,
        obs-str-bar-fallback, building, bridge, vegetation, sky"""
    ),
    "wilddash2": _names(
        """ego vehicle, road, sidewalk, building, wall, fence, guard rail, pole, traffic light, traffic sign,
        vegetation, terrain, sky, person, rider, car, truck, bus, motorcycle, bicycle, pickup, van, billboard,
        street-light, road-marking"""
    ),
    "mapillary": _names(
        """Bird, Ground Animal, Curb, Fence, Guard Rail, Barrier, Wall, Bike Lane, Crosswalk - Plain, Curb Cut,
        Parking, Pedestrian Area, Rail Track, Road, Service Lane, Sidewalk, Bridge, Building, Tunnel, Person,
        Bicyclist, Motorcyclist, Other Rider, Lane Marking - Crosswalk, Lane Marking - General, Mountain, Sand, Sky,
        Snow, Terrain, Vegetation, Water, Banner, Bench, Bike Rack, Billboard, Catch Basin, CCTV Camera, Fire Hydrant,
        Junction Box, Mailbox, Manhole, Phone Booth, Pothole, Street Light, Pole, Traffic Sign Frame, Utility Pole,
        Traffic Light, Traffic Sign (Back), Traffic Sign (Front), Trash Can, Bicycle, Boat, Bus, Car, Caravan,
        Motorcycle, On Rails, Other Vehicle, Trailer, Truck, Wheeled Slow, Car Mount, Ego Vehicle"""
    ),
    "coco": _names(
        """person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign,
        parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella,
        handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard,
        surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange,
        broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv,
        laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase,
        scissors, teddy bear, hair drier, toothbrush"""
    ),
    "ade20k": _names(
        """wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth,
        door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug,
        field, armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column,
        signboard, chest of drawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path,
        stairs, runway, case, pool table, pillow, screen door, stairway, river, bridge, bookcase, blind, coffee table,
        toilet, flower, book, hill, bench, countertop, stove, palm, kitchen island, computer, swivel chair, boat, bar,
        arcade machine, hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, booth,
        television receiver, airplane, dirt track, apparel, pole, land, bannister, escalator, ottoman, bottle, buffet,
        poster, stage, van, ship, fountain, conveyer belt, canopy, washer, plaything, swimming pool, stool, barrel,
        basket, waterfall, tent, bag, minibike, cradle, oven, ball, food, step, tank, trade name, microwave, pot,
        animal, bicycle, lake, dishwasher, screen, blanket, sculpture, hood, sconce, vase, traffic light, tray, ashcan,
        fan, pier, crt screen, plate, monitor, bulletin board, shower, radiator, glass, clock, flag"""
    ),
}


def published(*names: str) -> tuple[Dataset, ...]:
    """Datasets with their published label lists, for ``datasets`` in run.json; all of them without names.

    Raises:
        ConfigError: a dataset that is not in :data:`LABEL_SPACES`.
    """
    unknown = [name for name in names if name not in LABEL_SPACES]
    if unknown:
        raise ConfigError(f"No class list of '{unknown[0]}' is known. Known: {', '.join(LABEL_SPACES)}.")
    return tuple(Dataset(name, LABEL_SPACES[name]) for name in names or LABEL_SPACES)
