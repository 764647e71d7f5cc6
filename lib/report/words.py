"""Metrics and tiers in words: what each is called, and whether higher is better."""
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """A metric as tables name and explain it.

    direction   1 higher is better, -1 lower is better, 0 neither
    """
    label: str
    definition: str
    direction: Literal[1, -1, 0]


MEAN_PRECISION = (
    "average precision of instance masks by falling confidence, one right if its IoU with a true object of "
    "its class that none before it took is at least {}; averaged over the classes that occur, in percent")
METRICS: dict[str, Metric] = {
    "ois": Metric(
        "OIS",
        "F-measure (β² = 0.3) of each image at its own best threshold, averaged over images "
        "(optimal image scale)", 1),
    "ods": Metric(
        "ODS",
        "F-measure (β² = 0.3) of mean precision and mean recall over images, at the one threshold "
        "that is best for the whole dataset (optimal dataset scale)", 1),
    "ods_mean_f": Metric(
        "ODS, mean F",
        "F-measure (β² = 0.3) of each image at the best common threshold, averaged over images", 1),
    "mae": Metric(
        "MAE",
        "mean absolute difference between the map, not thresholded, and the binary truth", -1),
    "separation": Metric(
        "separation",
        "chance that a foreground position has the larger value than a background one, up to "
        "sign, in the component where it is largest (area under the ROC curve), averaged over "
        "images; 0.5 is chance", 1),
    "gradient": Metric(
        "gradient",
        "absolute correlation with the image's gradient magnitude, of the component where it is "
        "largest, averaged over images", 1),
    "share": Metric("share (%)", "share of the images, in percent", 0),
    "miou": Metric(
        "mIoU (%)",
        "intersection over union of every class and the background, from one confusion matrix "
        "over all images, void pixels left out, averaged over the background and the classes that "
        "the images are labelled with, in percent", 1),
    "iou": Metric(
        "IoU (%)",
        "intersection over union of one class, over all images, in percent; with the CRF", 1),
    "iou_no_crf": Metric(
        "IoU without CRF (%)",
        "intersection over union of one class, over all images, in percent; before the CRF", 1),
    "map": Metric(
        "mAP (%)",
        "average precision of ranking all images by a class's score, averaged over the classes "
        "that occur, in percent", 1),
    "exact": Metric(
        "exact (%)",
        "share of the images on which the classes scored above 0.5 are exactly the true ones, in "
        "percent", 1),
    "top_class": Metric(
        "top class (%)",
        "share of the images whose best scored class is a true one, in percent", 1),
    "loc1": Metric(
        "top-1 loc. error (%)",
        "share of the images on which the best class is wrong or the box of the true class "
        "overlaps no truth box by at least 0.5, in percent", -1),
    "loc5": Metric("top-5 loc. error (%)", "the same, with the true class among the five best", -1),
    "gt_known": Metric(
        "GT-known error (%)",
        "share of the images on which the box of the true class overlaps no truth box by at least "
        "0.5, in percent", -1),
    "cls1": Metric(
        "top-1 class. error (%)",
        "share of the images on which the best class is wrong, in percent", -1),
    "cls5": Metric(
        "top-5 class. error (%)",
        "share of the images on which the true class is not among the five best, in percent", -1),
    "cls1_ten": Metric(
        "top-1, ten crops (%)",
        "top-1 classification error of the mean over ten crops, in percent", -1),
    "cls5_ten": Metric(
        "top-5, ten crops (%)",
        "top-5 classification error of the mean over ten crops, in percent", -1),
    "max_box_acc": Metric(
        "MaxBoxAcc (%)",
        "share of the images whose box overlaps a truth box by at least 0.5, at the threshold "
        "that is best on the scored images themselves (Choe et al. 2020), in percent", 1),
    "max_box_acc_v2": Metric(
        "MaxBoxAccV2 (%)",
        "the same with the best of all components' boxes, averaged over overlaps of 0.3, 0.5 and "
        "0.7, each at its own best threshold (Choe et al. 2020), in percent", 1),
    "theta": Metric(
        "θ",
        "threshold of the maps with the least top-1 localisation error on validation images", 0),
    "map25": Metric("mAPʳ 0.25 (%)", MEAN_PRECISION.format(0.25), 1),
    "map50": Metric("mAPʳ 0.5 (%)", MEAN_PRECISION.format(0.5), 1),
    "map75": Metric("mAPʳ 0.75 (%)", MEAN_PRECISION.format(0.75), 1),
    "abo": Metric(
        "ABO (%)",
        "overlap (IoU) of every true object with the mask, or proposal, that overlaps it most, "
        "averaged over objects; of instance masks over the objects of each class, then over "
        "classes; in percent", 1),
    "iou_class": Metric(
        "class IoU (%)",
        "best IoU of a map, at the threshold where it is best, with a true object of the image, "
        "averaged over the maps of a class, in percent", 1),
    "recall50": Metric(
        "recall at 0.5 (%)",
        "share of the true objects that some proposal overlaps by at least 0.5, in percent", 1),
    "recall70": Metric("recall at 0.7 (%)", "the same at 0.7", 1),
    "proposals": Metric("proposals", "proposals an image", 0),
    "opposed": Metric(
        "opposed (%)",
        "share of pairs of arrows, four places apart in a row or column, that point in opposite "
        "directions along it, averaged over images, in percent", 1),
    "gain": Metric("gain (%)", "score of the one method over that of the other, less one, in percent", 1),
    "target_iou": Metric(
        "IoU of targets (%)",
        "overlap (IoU) of a peak's k best proposals with the object on which it stands, averaged "
        "over peaks, in percent", 1),
    "target_area": Metric(
        "area of targets (%)",
        "area of a peak's k best proposals, averaged over peaks, in percent of the image", 0),
    "least": Metric(
        "least peak",
        "value that a peak must exceed, with the best mAPʳ on validation images", 0),
    "cam_share": Metric(
        "share of the maximum",
        "share of a class map's maximum that a CAM's box surrounds, with the best mAPʳ on "
        "validation images", 0),
    "feed_forward": Metric(
        "feed-forward (s)",
        "seconds an image for the classifier and the peak response maps, and for the filling where "
        "the method has one", -1),
    "proposal_extraction": Metric(
        "proposal extraction (s)",
        "seconds an image to find its proposals", -1),
    "proposal_retrieval": Metric(
        "proposal retrieval (s)",
        "seconds an image to match peak response maps with proposals", -1),
    "crf": Metric("CRF (s)", "seconds an image for the ConvCRF", -1),
    "total": Metric("total (s)", "seconds an image, all stages", -1),
    "without_shared": Metric(
        "total without what both need (s)",
        "the same without classifier and peak response maps", -1),
    "whole_ms": Metric(
        "with the forward pass (ms)",
        "milliseconds for peak response maps from the image on", -1),
    "down_ms": Metric(
        "way down alone (ms)",
        "milliseconds for the way from the peaks to the image, the forward pass being there", -1),
    "seconds": Metric(
        "seconds",
        "seconds an image on this machine, from the decoded photograph to the map", -1),
    "memory": Metric(
        "memory (MB)",
        "the most memory that a process doing nothing else held, Python and its libraries "
        "included", -1),
    "recall": Metric(
        "recall (%)",
        "share of the true objects with a proposal that overlaps them by at least 0.5, in percent", 1),
}
DIRECTIONS = {1: "higher is better", -1: "lower is better", 0: ""}
TIER_WORDS = {"mirror": "real photographs", "collage": "composed images", "paper": "the papers' own images"}
