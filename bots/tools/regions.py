"""From a locale, a language and a country, to a region as DuckDuckGo names it: the country first."""

from typing import Final

NO_REGION: Final = "wt-wt"
_NAMES: Final = (
    "ar-es at-de au-en be-fr be-nl bg-bg br-pt ca-en ca-fr ch-de ch-fr ch-it cl-es cn-zh co-es ct-ca cz-cs de-de dk-da"
    " ee-et es-es fi-fi fr-fr gr-el hk-tzh hr-hr hu-hu id-en id-id ie-en il-he in-en it-it jp-jp kr-kr lt-lt lv-lv"
    " mx-es my-en my-ms nl-nl no-no nz-en pe-es ph-en ph-tl pl-pl pt-pt ro-ro ru-ru se-sv sg-en sk-sk sl-sl th-th"
    " tr-tr tw-tzh ua-uk ue-es uk-en us-en ve-es vn-vi xa-ar xa-en xl-es za-en"
)
REGIONS: Final = frozenset(_NAMES.split())
_COUNTRIES: Final = {"gb": "uk"}
_LANGUAGES: Final = {"ja": "jp", "ko": "kr", "nb": "no", "nn": "no"}
_ELSEWHERE: Final = "us-en xa-ar cz-cs dk-da gr-el ee-et il-he my-ms br-pt se-sv ua-uk vn-vi cn-zh"
_USUAL: Final = {region.partition("-")[2]: region for region in _ELSEWHERE.split()}
"""Language → where is looked if no country is named, for languages that are not called like their country."""


def region_of(locale: str) -> str:
    """`en-us` → `us-en`, `ja-jp` → `jp-jp`, `en-gb` → `uk-en`; a region is taken as it is. Else NO_REGION."""
    first, _, second = locale.partition("-")
    country = _COUNTRIES.get(second, second)
    language = _LANGUAGES.get(first, first)
    if language == "zh" and country in ("tw", "hk"):
        language = "tzh"
    usual = _USUAL.get(language, f"{language}-{language}")
    for region in (f"{country}-{language}", locale, "" if second else usual):
        if region in REGIONS:
            return region
    return NO_REGION
